from typing import Any

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import DidField
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import asking
from conversations.services import leave_convo
from conversations.xrpc.fields import CommitInput, ConvoIdField


class LeaveConvo(Procedure):
    nsid = "blue.catbird.mls.leaveConvo"

    class Input(CommitInput):
        convoId = ConvoIdField()
        targetDid = DidField(source="target_did", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        return leave_convo(
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            target_did=given.get("target_did"),
            proposal=given.get("commit"),
        )
