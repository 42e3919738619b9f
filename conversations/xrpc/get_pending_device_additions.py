from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Query
from conversations.selectors import additions_for

CONVOS_MAX = 100


class GetPendingDeviceAdditions(Query):
    nsid = "blue.catbird.mls.getPendingDeviceAdditions"

    class Input(serializers.Serializer[Any]):
        convoIds = serializers.ListField(
            source="convo_ids", child=serializers.CharField(), max_length=CONVOS_MAX, required=False
        )
        limit = serializers.IntegerField(min_value=1, max_value=100, default=50)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        waiting = additions_for(did=caller.did, convo_ids=given.get("convo_ids"), limit=given["limit"])
        return {
            "pendingAdditions": [
                {
                    "id": addition.id,
                    "convoId": addition.convo_id,
                    "userDid": addition.device.did,
                    "deviceId": addition.device.device_id,
                    "deviceName": addition.device.name,
                    "deviceCredentialDid": addition.device.did,
                    "status": "in_progress" if addition.claimed_by else "pending",
                    "claimedBy": addition.claimed_by,
                    "createdAt": wire_time(addition.device.registered_at),
                }
                for addition in waiting
            ]
        }
