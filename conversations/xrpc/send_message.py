from typing import Any

from django.conf import settings
from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField, wire_time
from catbird_mls.xrpc.views import Procedure
from conversations.errors import InvalidAsset
from conversations.models import MSG_ID_MAX_LENGTH
from conversations.selectors import asking
from conversations.services import append_message
from conversations.xrpc.fields import ConvoIdField

PADDED_SIZES = frozenset({512, 1024, 2048, 4096})
PADDING_STEP = 8192


class PaddedSizeField(serializers.IntegerField):
    """A padding bucket, checked for shape alone: it is the plaintext that is padded."""

    def to_internal_value(self, data: Any) -> int:
        size = int(super().to_internal_value(data))
        if size not in PADDED_SIZES and (size <= 0 or size % PADDING_STEP):
            raise InvalidAsset("paddedSize: one of 512, 1024, 2048, 4096 or a multiple of 8192.")
        return size


class SendMessage(Procedure):
    nsid = "blue.catbird.mls.sendMessage"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        msgId = serializers.CharField(source="msg_id", max_length=MSG_ID_MAX_LENGTH)
        idempotencyKey = serializers.CharField(max_length=64, required=False)
        ciphertext = BytesField(max_length=settings.REQUEST_MAX_BYTES)
        epoch = serializers.IntegerField(min_value=0)
        paddedSize = PaddedSizeField()
        delivery = serializers.ChoiceField(choices=["persistent"], default="persistent")
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        place = append_message(
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            msg_id=given["msg_id"],
            epoch=given["epoch"],
            ciphertext=given["ciphertext"],
        )
        return {
            "messageId": place.msg_id,
            "receivedAt": wire_time(place.received_at),
            "seq": place.seq,
            "epoch": place.epoch,
            "currentEpoch": place.current_epoch,
        }
