from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Query
from conversations.selectors import asking, current_epoch
from conversations.xrpc.fields import ConvoIdField


class GetEpoch(Query):
    nsid = "blue.catbird.mls.getEpoch"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        convo_id = given["convo_id"]
        epoch = current_epoch(convo_id=convo_id, who=asking(did=caller.did, device=None))
        return {"convoId": convo_id, "currentEpoch": epoch}
