from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.services import unregister_push_tokens


class UnregisterDeviceToken(Procedure):
    nsid = "blue.catbird.mls.unregisterDeviceToken"

    class Input(serializers.Serializer[Any]):
        deviceId = serializers.CharField(source="handle")

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        unregister_push_tokens(did=caller.did, handle=given["handle"])
        return {"success": True}
