from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import DidField
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import asking
from conversations.services import add_members
from conversations.xrpc.fields import ConvoIdField, WelcomeInput, commit_bundle

DIDS_MAX = 50


class AddMembers(Procedure):
    nsid = "blue.catbird.mls.addMembers"

    class Input(WelcomeInput):
        convoId = ConvoIdField()
        idempotencyKey = serializers.CharField(source="key", max_length=64, required=False)
        didList = serializers.ListField(source="dids", child=DidField(), max_length=DIDS_MAX)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        return add_members(
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            dids=given["dids"],
            bundle=commit_bundle(given),
            key=given.get("key"),
        )
