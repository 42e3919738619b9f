from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import CursorField
from catbird_mls.xrpc.views import Query
from conversations.selectors import asking, message_page
from conversations.shapes import message_view
from conversations.xrpc.fields import ConvoIdField


class GetMessages(Query):
    nsid = "blue.catbird.mls.getMessages"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        limit = serializers.IntegerField(min_value=1, max_value=100, default=50)
        sinceSeq = serializers.IntegerField(source="since_seq", min_value=0, default=0)
        cursor = CursorField(required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        page = message_page(
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            since_seq=int(given.get("cursor", given["since_seq"])),
            limit=given["limit"],
        )
        gaps = {"hasGaps": True, "missingSeqs": page.missing, "totalMessages": len(page.messages)}
        return {
            "messages": [message_view(message) for message in page.messages],
            "lastSeq": page.last_seq,
            "gapInfo": gaps if page.missing else None,
            "cursor": page.cursor,
        }
