from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import HexField
from catbird_mls.xrpc.views import Procedure
from keypackages.services import sync_key_packages

REFERENCE_MAX_BYTES = 64


class SyncKeyPackages(Procedure):
    nsid = "blue.catbird.mls.syncKeyPackages"

    class Input(serializers.Serializer[Any]):
        localHashes = serializers.ListField(source="local", child=HexField(max_bytes=REFERENCE_MAX_BYTES))
        deviceId = serializers.CharField(source="handle")

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        synced = sync_key_packages(did=caller.did, handle=given["handle"], local=set(given["local"]))
        return {
            "serverHashes": [reference.hex() for reference in synced.kept],
            "orphanedCount": len(synced.orphaned),
            "deletedCount": len(synced.orphaned),
            "orphanedHashes": [reference.hex() for reference in synced.orphaned],
            "remainingAvailable": len(synced.kept),
            "deviceId": synced.device_id,
        }
