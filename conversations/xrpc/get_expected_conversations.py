from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Query
from conversations.selectors import expected_convos, founder


class GetExpectedConversations(Query):
    nsid = "blue.catbird.mls.getExpectedConversations"

    class Input(serializers.Serializer[Any]):
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        expected = expected_convos(founder(did=caller.did, device=given.get("device")))
        return {
            "conversations": [
                {
                    "convoId": one.convo.pk,
                    "name": one.convo.name,
                    "memberCount": one.members,
                    "shouldBeInGroup": True,
                    "lastActivity": wire_time(one.convo.last_message_at) if one.convo.last_message_at else None,
                    "needsRejoin": one.needs_rejoin,
                    "deviceInGroup": one.device_in_group,
                }
                for one in expected
            ]
        }
