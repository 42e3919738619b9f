from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import Asking
from conversations.services import ask_for_group_info
from conversations.xrpc.fields import ConvoIdField


class GroupInfoRefresh(Procedure):
    nsid = "blue.catbird.mls.groupInfoRefresh"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        others = ask_for_group_info(convo_id=given["convo_id"], who=Asking(caller.did))
        return {"requested": others > 0, "activeMembers": others}
