from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import founder
from conversations.services import ask_to_rejoin
from conversations.xrpc.fields import ConvoIdField
from keypackages.framing import KEY_PACKAGE_MAX_BYTES, labelled


class Rejoin(Procedure):
    nsid = "blue.catbird.mls.rejoin"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        keyPackage = BytesField(source="key_package", max_length=KEY_PACKAGE_MAX_BYTES)
        reason = serializers.CharField(max_length=128, allow_blank=True, required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        asked = ask_to_rejoin(
            convo_id=given["convo_id"],
            who=founder(did=caller.did, device=given.get("device")),
            item=labelled(given["key_package"]),
        )
        return {"requestId": asked.request_id, "pending": True}


class RequestRejoin(Rejoin):
    """The same under its older name."""

    nsid = "blue.catbird.mls.requestRejoin"
