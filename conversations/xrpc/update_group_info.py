from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField
from catbird_mls.xrpc.views import Procedure
from conversations.framing import GROUP_INFO_MAX_BYTES
from conversations.selectors import founder
from conversations.services import update_group_info
from conversations.xrpc.fields import ConvoIdField


class UpdateGroupInfo(Procedure):
    nsid = "blue.catbird.mls.updateGroupInfo"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        groupInfo = BytesField(source="group_info", max_length=GROUP_INFO_MAX_BYTES)
        epoch = serializers.IntegerField(min_value=0)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        update_group_info(
            convo_id=given["convo_id"],
            who=founder(did=caller.did, device=given.get("device")),
            group_info=given["group_info"],
            epoch=given["epoch"],
        )
        return {"updated": True}
