from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import DidField
from catbird_mls.xrpc.views import Query
from keypackages.errors import InvalidDid
from keypackages.selectors import require_own_stats
from keypackages.stock import stats


class GetKeyPackageStats(Query):
    nsid = "blue.catbird.mls.getKeyPackageStats"

    class Input(serializers.Serializer[Any]):
        did = DidField(refusal=InvalidDid, required=False)
        cipherSuite = serializers.CharField(source="cipher_suite", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        did = require_own_stats(caller_did=caller.did, did=given.get("did"))
        return stats(did=did, cipher_suite=given.get("cipher_suite"))
