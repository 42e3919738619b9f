from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Query
from keypackages.stock import consumed_page, status


class GetKeyPackageStatus(Query):
    nsid = "blue.catbird.mls.getKeyPackageStatus"

    class Input(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=100, default=20)
        cursor = serializers.CharField(required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        numbers = status(caller.did)
        packages, cursor = consumed_page(did=caller.did, limit=given["limit"], cursor=given.get("cursor"))
        return {
            "totalUploaded": numbers.uploaded,
            "available": numbers.available,
            "consumed": numbers.consumed,
            "reserved": numbers.reserved,
            "consumedPackages": [
                {
                    "keyPackageHash": bytes(package.reference).hex(),
                    "usedInGroup": package.spent_in_convo,
                    "consumedAt": wire_time(package.consumed_at) if package.consumed_at else None,
                    "cipherSuite": package.cipher_suite,
                }
                for package in packages
            ],
            "cursor": cursor,
        }
