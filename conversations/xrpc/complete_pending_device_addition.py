from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import Asking
from conversations.services import complete_addition


class CompletePendingDeviceAddition(Procedure):
    nsid = "blue.catbird.mls.completePendingDeviceAddition"

    class Input(serializers.Serializer[Any]):
        pendingAdditionId = serializers.CharField(source="pending_addition_id")
        newEpoch = serializers.IntegerField(source="new_epoch", min_value=0)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        complete_addition(who=Asking(caller.did), **given)
        return {"success": True}
