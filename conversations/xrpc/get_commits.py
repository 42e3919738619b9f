from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Query
from conversations.selectors import asking, commit_page
from conversations.shapes import commit_view
from conversations.xrpc.fields import ConvoIdField


class GetCommits(Query):
    nsid = "blue.catbird.mls.getCommits"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        fromEpoch = serializers.IntegerField(source="from_epoch", min_value=0)
        toEpoch = serializers.IntegerField(source="to_epoch", min_value=0, required=False)
        cursor = serializers.CharField(required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        commits, cursor = commit_page(
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            from_epoch=given["from_epoch"],
            to_epoch=given.get("to_epoch"),
            cursor=given.get("cursor"),
        )
        views = [commit_view(commit) for commit in commits]
        return {"convoId": given["convo_id"], "commits": views, "cursor": cursor}
