from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Query
from conversations.device_state import device_state
from conversations.selectors import founder


class ValidateDeviceState(Query):
    nsid = "blue.catbird.mls.validateDeviceState"

    class Input(serializers.Serializer[Any]):
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        state = device_state(founder(did=caller.did, device=given.get("device")))
        return {
            "isValid": not state.issues,
            "issues": list(state.issues),
            "recommendations": list(state.recommendations),
            "expectedConvos": state.expected,
            "actualConvos": state.actual,
            "keyPackageInventory": {
                "available": state.available,
                "target": state.target,
                "needsReplenishment": state.available < state.target,
                "perDeviceCount": state.available,
            },
            "pendingRejoinRequests": list(state.rejoining),
        }
