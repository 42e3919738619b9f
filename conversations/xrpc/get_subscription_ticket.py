from typing import Any

from django.conf import settings
from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.views import Procedure
from conversations.selectors import asking
from conversations.services import open_subscription
from conversations.xrpc.fields import ConvoIdField

ENDPOINT = "/xrpc/blue.catbird.mls.subscribeConvoEvents"


class GetSubscriptionTicket(Procedure):
    nsid = "blue.catbird.mls.getSubscriptionTicket"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField(required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        who = asking(did=caller.did, device=given.get("device"))
        ticket = open_subscription(who=who, convo_id=given.get("convo_id"))
        here = settings.CATBIRD_PUBLIC_URL or self.request.build_absolute_uri("/").rstrip("/")
        # https becomes wss, http becomes ws.
        endpoint = here.replace("http", "ws", 1) + ENDPOINT
        return {"ticket": ticket.text, "endpoint": endpoint, "expiresAt": wire_time(ticket.expires_at)}
