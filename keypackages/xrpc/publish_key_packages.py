from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from keypackages.services import publish_key_packages
from keypackages.xrpc.fields import KeyPackageBatch


class PublishKeyPackages(Procedure):
    nsid = "blue.catbird.mls.publishKeyPackages"

    class Input(serializers.Serializer[Any]):
        keyPackages = KeyPackageBatch(source="items")

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        items = given["items"]
        refused = publish_key_packages(did=caller.did, items=items)
        errors = [
            {"index": index, "error": f"{type(error).__name__}: {error}"} for index, error in sorted(refused.items())
        ]
        return {"succeeded": len(items) - len(errors), "failed": len(errors), "errors": errors or None}
