from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField
from catbird_mls.xrpc.views import Procedure
from conversations.framing import COMMIT_MAX_BYTES, GROUP_INFO_MAX_BYTES
from conversations.selectors import founder
from conversations.services import CommitBundle, process_external_commit
from conversations.xrpc.fields import ConvoIdField


class ProcessExternalCommit(Procedure):
    nsid = "blue.catbird.mls.processExternalCommit"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        externalCommit = BytesField(source="commit", max_length=COMMIT_MAX_BYTES)
        groupInfo = BytesField(source="group_info", max_length=GROUP_INFO_MAX_BYTES, required=False)
        idempotencyKey = serializers.CharField(source="key", max_length=64, required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        return process_external_commit(
            convo_id=given["convo_id"],
            who=founder(did=caller.did, device=given.get("device")),
            bundle=CommitBundle(commit=given["commit"], group_info=given.get("group_info")),
            key=given.get("key"),
        )
