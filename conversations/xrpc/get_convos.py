from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Query
from conversations.selectors import convo_page
from conversations.shapes import convo_views


class GetConvos(Query):
    nsid = "blue.catbird.mls.getConvos"

    class Input(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=100, default=50)
        cursor = serializers.CharField(required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        convos, cursor = convo_page(did=caller.did, limit=given["limit"], cursor=given.get("cursor"))
        return {"conversations": convo_views(convos, did=caller.did), "cursor": cursor}
