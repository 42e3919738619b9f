from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField
from catbird_mls.xrpc.views import Procedure
from keypackages.framing import WELCOME_MAX_BYTES
from keypackages.selectors import usable_package_of_welcome


class ValidateWelcome(Procedure):
    nsid = "blue.catbird.mls.validateWelcome"

    class Input(serializers.Serializer[Any]):
        welcomeMessage = BytesField(source="welcome", max_length=WELCOME_MAX_BYTES)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        package = usable_package_of_welcome(did=caller.did, welcome=given["welcome"])
        return {
            "valid": True,
            "keyPackageHash": bytes(package.reference).hex(),
            "recipientDid": package.did,
            "groupId": package.spent_in_convo or None,
            "reserved": package.spent_at is not None,
        }
