from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Procedure
from keypackages.services import opt


class OptIn(Procedure):
    nsid = "blue.catbird.mls.optIn"

    class Input(serializers.Serializer[Any]):
        deviceId = serializers.CharField(required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        return {"optedIn": True, "optedInAt": wire_time(opt(did=caller.did, into=True))}
