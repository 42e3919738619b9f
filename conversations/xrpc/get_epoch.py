from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Query
from conversations.desk import Desk
from conversations.selectors import asking, current_epoch
from conversations.xrpc.fields import ConvoIdField, is_plain_id


class GetEpoch(Query):
    nsid = "blue.catbird.mls.getEpoch"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        convo_id = given["convo_id"]
        epoch = current_epoch(convo_id=convo_id, who=asking(did=caller.did, device=None))
        return {"convoId": convo_id, "currentEpoch": epoch}

    @staticmethod
    def quick(given: Mapping[str, Any]) -> dict[str, Any] | None:
        convo_id = given.get("convoId")
        return {"convo_id": convo_id} if is_plain_id(convo_id) else None

    @staticmethod
    async def handle_swiftly(desk: Desk, caller: Caller, **given: Any) -> dict[str, Any]:
        convo_id = given["convo_id"]
        return {"convoId": convo_id, "currentEpoch": await desk.current_epoch(convo_id=convo_id, did=caller.did)}
