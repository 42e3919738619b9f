from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import base64_text
from catbird_mls.xrpc.views import Query
from conversations.selectors import asking
from conversations.services import fetch_welcome
from conversations.xrpc.fields import ConvoIdField


class GetWelcome(Query):
    nsid = "blue.catbird.mls.getWelcome"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        convo_id = given["convo_id"]
        welcome = fetch_welcome(convo_id=convo_id, who=asking(did=caller.did, device=given.get("device")))
        return {
            "convoId": convo_id,
            "welcome": base64_text(welcome.body),
            "epoch": welcome.epoch,
            "ratchetTree": base64_text(welcome.ratchet_tree) if welcome.ratchet_tree is not None else None,
        }
