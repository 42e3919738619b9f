from typing import Any

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Procedure
from keypackages.services import opt


class OptOut(Procedure):
    nsid = "blue.catbird.mls.optOut"

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        opt(did=caller.did, into=False)
        return {"success": True}
