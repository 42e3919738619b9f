import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import CursorField
from catbird_mls.xrpc.views import Query
from conversations.desk import Desk
from conversations.pages import MessagesAsked, Page, message_page
from conversations.selectors import Asking, asking
from conversations.shapes import message_view
from conversations.xrpc.fields import ConvoIdField, is_plain_id

DEFAULT_LIMIT = 50
LIMIT = re.compile(r"[1-9][0-9]?|100")
SEQ = re.compile(r"[0-9]{1,18}")
USUAL = frozenset({"convoId", "limit", "sinceSeq"})


class GetMessages(Query):
    nsid = "blue.catbird.mls.getMessages"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        limit = serializers.IntegerField(min_value=1, max_value=100, default=DEFAULT_LIMIT)
        sinceSeq = serializers.IntegerField(source="since_seq", min_value=0, default=0)
        cursor = CursorField(required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        return _view(message_page(_asked(asking(did=caller.did, device=given.get("device")), given)), given["convo_id"])

    @staticmethod
    def quick(given: Mapping[str, Any]) -> dict[str, Any] | None:
        if not (given.keys() <= USUAL and is_plain_id(given.get("convoId"))):
            return None
        limit, since = given.get("limit", str(DEFAULT_LIMIT)), given.get("sinceSeq", "0")
        if not (LIMIT.fullmatch(limit) and SEQ.fullmatch(since)):
            return None
        return {"convo_id": given["convoId"], "limit": int(limit), "since_seq": int(since)}

    @staticmethod
    async def handle_swiftly(desk: Desk, caller: Caller, **given: Any) -> dict[str, Any] | None:
        """A page for an account; whoever names a device or is a stranger is left to the view."""
        if given.get("device"):
            return None
        page = await desk.read(_asked(Asking(caller.did), given))
        return None if page is None else _view(page, given["convo_id"])


def _asked(who: Asking, given: Mapping[str, Any]) -> MessagesAsked:
    after = int(given.get("cursor", given["since_seq"]))
    return MessagesAsked(convo_id=given["convo_id"], who=who, after=after, limit=given["limit"])


def _view(page: Page, convo_id: str) -> dict[str, Any]:
    gaps = {"hasGaps": True, "missingSeqs": page.missing, "totalMessages": len(page.messages)}
    return {
        "messages": [message_view(message, convo_id) for message in page.messages],
        "lastSeq": page.last_seq,
        "gapInfo": gaps if page.missing else None,
        "cursor": page.cursor,
    }
