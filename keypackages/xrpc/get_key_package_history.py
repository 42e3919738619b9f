from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Query
from keypackages.stock import history_page


class GetKeyPackageHistory(Query):
    nsid = "blue.catbird.mls.getKeyPackageHistory"

    class Input(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=100, default=20)
        cursor = serializers.CharField(required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        packages, cursor = history_page(did=caller.did, limit=given["limit"], cursor=given.get("cursor"))
        return {
            "history": [
                {
                    "packageId": str(package.pk),
                    "createdAt": wire_time(package.published_at),
                    "consumedAt": wire_time(package.consumed_at) if package.consumed_at else None,
                    "consumedForConvo": package.spent_in_convo or None,
                    "consumedByDevice": package.spent_by_device or None,
                    "deviceId": package.device_id,
                    "cipherSuite": package.cipher_suite,
                }
                for package in packages
            ],
            "cursor": cursor,
        }
