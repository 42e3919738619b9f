from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.services import register_push_token

PUSH_TOKEN_MAX_LENGTH = 2048


class RegisterDeviceToken(Procedure):
    nsid = "blue.catbird.mls.registerDeviceToken"

    class Input(serializers.Serializer[Any]):
        deviceId = serializers.CharField(source="handle")
        pushToken = serializers.CharField(source="token", max_length=PUSH_TOKEN_MAX_LENGTH)
        deviceName = serializers.CharField(required=False, allow_blank=True)
        platform = serializers.ChoiceField(["ios", "android", "web"], default="ios")

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        register_push_token(did=caller.did, handle=given["handle"], platform=given["platform"], token=given["token"])
        return {"success": True}
