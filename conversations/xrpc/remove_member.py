from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import DidField
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import asking
from conversations.services import remove_member
from conversations.xrpc.fields import CommitInput, ConvoIdField, commit_bundle


class RemoveMember(Procedure):
    nsid = "blue.catbird.mls.removeMember"

    class Input(CommitInput):
        convoId = ConvoIdField()
        targetDid = DidField(source="target_did")
        idempotencyKey = serializers.CharField(source="key", max_length=64)
        reason = serializers.CharField(max_length=500, allow_blank=True, required=False)
        ban = serializers.BooleanField(default=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        return remove_member(
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            target_did=given["target_did"],
            bundle=commit_bundle(given),
            key=given["key"],
            ban=given.get("reason", "") if given["ban"] else None,
        )
