from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField, quick_bytes, wire_time
from catbird_mls.xrpc.views import Procedure
from conversations.desk import Desk
from conversations.errors import InvalidAsset
from conversations.models import MSG_ID_MAX_LENGTH
from conversations.selectors import Asking, asking
from conversations.sequencer import Place
from conversations.services import append_message, pass_on_message
from conversations.services.messages import outgoing
from conversations.xrpc.fields import ConvoIdField, is_plain_id

PADDED_SIZES = frozenset({512, 1024, 2048, 4096})
PADDING_STEP = 8192
USUAL_SIZES = PADDED_SIZES | {PADDING_STEP * number for number in range(1, 17)}
USUAL = frozenset({"convoId", "msgId", "idempotencyKey", "ciphertext", "epoch", "paddedSize"})
EPOCH_MAX = 2**53
DELIVERY = {"persistent": append_message, "ephemeral": pass_on_message}


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
        delivery = serializers.ChoiceField(choices=list(DELIVERY), default="persistent")
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        place = DELIVERY[given["delivery"]](
            convo_id=given["convo_id"],
            who=asking(did=caller.did, device=given.get("device")),
            msg_id=given["msg_id"],
            epoch=given["epoch"],
            ciphertext=given["ciphertext"],
        )
        return _view(place)

    @staticmethod
    def quick(given: Mapping[str, Any]) -> dict[str, Any] | None:
        """What clients send: ids without surprises, a number, and base64 in the one alphabet."""
        if not (is_plain_id(given.get("convoId")) and is_plain_id(given.get("msgId"))):
            return None
        epoch, size = given.get("epoch"), given.get("paddedSize")
        if type(epoch) is not int or not 0 <= epoch <= EPOCH_MAX or size not in USUAL_SIZES:
            return None
        if not given.keys() <= USUAL or not isinstance(given.get("idempotencyKey", ""), str):
            return None
        ciphertext = quick_bytes(given.get("ciphertext"))
        if ciphertext is None:
            return None
        return {"convo_id": given["convoId"], "msg_id": given["msgId"], "epoch": epoch, "ciphertext": ciphertext}

    @staticmethod
    async def handle_swiftly(desk: Desk, caller: Caller, **given: Any) -> dict[str, Any] | None:
        """A message of an account; what names a device, is ephemeral or a proposal is left to the view."""
        if given.get("device") or given.get("delivery", "persistent") != "persistent":
            return None
        message = outgoing(
            convo_id=given["convo_id"],
            who=Asking(caller.did),
            msg_id=given["msg_id"],
            epoch=given["epoch"],
            ciphertext=given["ciphertext"],
        )
        return None if message.fault is not None else _view(await desk.sequencer.append(message))


def _view(place: Place) -> dict[str, Any]:
    return {
        "messageId": place.msg_id,
        "receivedAt": wire_time(place.received_at),
        "seq": place.seq,
        "epoch": place.epoch,
        "currentEpoch": place.current_epoch,
    }
