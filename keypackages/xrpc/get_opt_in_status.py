from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import DidField, wire_time
from catbird_mls.xrpc.views import Query
from keypackages.selectors import opt_ins

DIDS_MAX = 100


class GetOptInStatus(Query):
    nsid = "blue.catbird.mls.getOptInStatus"

    class Input(serializers.Serializer[Any]):
        dids = serializers.ListField(child=DidField(), max_length=DIDS_MAX)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        choices = opt_ins(given["dids"])
        return {
            "statuses": [
                {
                    "did": did,
                    "optedIn": did not in choices or choices[did].opted_in,
                    "optedInAt": wire_time(choices[did].changed_at)
                    if did in choices and choices[did].opted_in
                    else None,
                }
                for did in dict.fromkeys(given["dids"])
            ]
        }
