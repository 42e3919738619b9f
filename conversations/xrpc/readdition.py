from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import founder
from conversations.services import ask_for_readdition
from conversations.xrpc.fields import ConvoIdField


class Readdition(Procedure):
    nsid = "blue.catbird.mls.readdition"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        who = founder(did=caller.did, device=given.get("device"))
        asked = ask_for_readdition(convo_id=given["convo_id"], who=who)
        return {"requested": True, "activeMembers": asked.active_members}
