from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import base64_text, wire_time
from catbird_mls.xrpc.views import Query
from conversations.selectors import Asking
from conversations.services import read_group_info
from conversations.xrpc.fields import ConvoIdField


class GetGroupInfo(Query):
    nsid = "blue.catbird.mls.getGroupInfo"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        door = read_group_info(convo_id=given["convo_id"], who=Asking(caller.did))
        return {
            "groupInfo": base64_text(door.group_info),
            "ratchetTree": base64_text(door.ratchet_tree),
            "epoch": door.epoch,
            "expiresAt": wire_time(door.expires_at),
        }
