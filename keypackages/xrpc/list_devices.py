from typing import Any

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Query
from keypackages.selectors import devices_with_counts


class ListDevices(Query):
    nsid = "blue.catbird.mls.listDevices"

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        return {
            "devices": [
                {
                    "deviceId": device.pk,
                    "deviceName": device.name,
                    "deviceUUID": device.device_uuid or None,
                    "credentialDid": caller.did,
                    "lastSeenAt": wire_time(device.last_seen_at),
                    "registeredAt": wire_time(device.registered_at),
                    "keyPackageCount": count,
                }
                for device, count in devices_with_counts(caller.did)
            ]
        }
