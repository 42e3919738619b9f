from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from conversations.services import delete_device


class DeleteDevice(Procedure):
    nsid = "blue.catbird.mls.deleteDevice"

    class Input(serializers.Serializer[Any]):
        deviceId = serializers.CharField(source="handle")

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        deleted = delete_device(did=caller.did, handle=given["handle"])
        return {"deleted": True, "keyPackagesDeleted": deleted.key_packages_deleted}
