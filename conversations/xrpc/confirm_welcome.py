from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import asking
from conversations.services import settle_welcome
from conversations.xrpc.fields import ConvoIdField


class ConfirmWelcome(Procedure):
    nsid = "blue.catbird.mls.confirmWelcome"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        success = serializers.BooleanField()
        errorDetails = serializers.CharField(source="details", max_length=1024, allow_blank=True, default="")
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        settle_welcome(
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            success=given["success"],
            details=given["details"],
        )
        return {"confirmed": True}
