from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Procedure
from conversations.models import MSG_ID_MAX_LENGTH
from conversations.services import update_read
from conversations.xrpc.fields import ConvoIdField


class UpdateRead(Procedure):
    nsid = "blue.catbird.mls.updateRead"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        messageId = serializers.CharField(source="msg_id", max_length=MSG_ID_MAX_LENGTH, required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        read_at = update_read(convo_id=given["convo_id"], did=caller.did, msg_id=given.get("msg_id"))
        return {"readAt": wire_time(read_at)}
