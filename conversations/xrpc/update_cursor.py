from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import CursorField
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import asking
from conversations.services import update_cursor
from conversations.xrpc.fields import ConvoIdField


class UpdateCursor(Procedure):
    nsid = "blue.catbird.mls.updateCursor"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        cursor = CursorField()
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        who = asking(did=caller.did, device=given.get("device"))
        update_cursor(convo_id=given["convo_id"], who=who, seq=int(given["cursor"]))
        return {"success": True}
