from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import asking
from conversations.services import give_up_welcome
from conversations.xrpc.fields import ConvoIdField


class InvalidateWelcome(Procedure):
    nsid = "blue.catbird.mls.invalidateWelcome"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        reason = serializers.CharField(max_length=1024)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        who = asking(did=caller.did, device=given.get("device"))
        welcome_id = give_up_welcome(convo_id=given["convo_id"], who=who, reason=given["reason"])
        return {"invalidated": welcome_id is not None, "welcomeId": None if welcome_id is None else str(welcome_id)}
