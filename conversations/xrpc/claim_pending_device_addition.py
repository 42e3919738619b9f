from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import base64_text
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import Asking
from conversations.services import claim_addition


class ClaimPendingDeviceAddition(Procedure):
    nsid = "blue.catbird.mls.claimPendingDeviceAddition"

    class Input(serializers.Serializer[Any]):
        pendingAdditionId = serializers.CharField(source="pending_addition_id")

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        claimed = claim_addition(who=Asking(caller.did), **given)
        if claimed is None:
            return {"claimed": False}
        package = claimed.package
        return {
            "claimed": True,
            "convoId": claimed.addition.convo_id,
            "deviceCredentialDid": claimed.addition.device.did,
            "claimedBy": caller.did,
            "keyPackage": {
                "did": package.did,
                "keyPackage": base64_text(package.body),
                "keyPackageHash": package.reference.hex(),
                "cipherSuite": package.cipher_suite,
            },
        }
