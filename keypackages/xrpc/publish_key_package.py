from typing import Any

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from keypackages.services import publish_key_package
from keypackages.xrpc.fields import KeyPackageItem


class PublishKeyPackage(Procedure):
    nsid = "blue.catbird.mls.publishKeyPackage"

    class Input(KeyPackageItem):
        pass

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        publish_key_package(did=caller.did, item=given)
        return {}
