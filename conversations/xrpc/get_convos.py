import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Query
from conversations.desk import Desk
from conversations.listing import ConvosAsked, convo_page

DEFAULT_LIMIT = 50
LIMIT = re.compile(r"[1-9][0-9]?|100")


class GetConvos(Query):
    nsid = "blue.catbird.mls.getConvos"

    class Input(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=100, default=DEFAULT_LIMIT)
        cursor = serializers.CharField(required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        convos, cursor = convo_page(ConvosAsked(caller.did, **given))
        return {"conversations": convos, "cursor": cursor}

    @staticmethod
    def quick(given: Mapping[str, Any]) -> dict[str, Any] | None:
        limit = given.get("limit", str(DEFAULT_LIMIT))
        return {"limit": int(limit)} if given.keys() <= {"limit"} and LIMIT.fullmatch(limit) else None

    @staticmethod
    async def handle_swiftly(desk: Desk, caller: Caller, **given: Any) -> dict[str, Any] | None:
        page = await desk.read(ConvosAsked(caller.did, **given))
        return None if page is None else {"conversations": page[0], "cursor": page[1]}
