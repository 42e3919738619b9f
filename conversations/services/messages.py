from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from conversations.errors import IdempotencyConflict, MessageTooLarge
from conversations.framing import require_no_smuggling
from conversations.locks import locked_convo
from conversations.models import Convo, Kind, Message
from conversations.selectors import Asking, require_member, require_recent_epoch
from conversations.services.log import append_entry, sender_tag


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands, and the epoch the convo is at."""

    msg_id: str
    seq: int
    epoch: int
    received_at: datetime
    current_epoch: int


def append_message(*, convo_id: str, who: Asking, msg_id: str, epoch: int, ciphertext: bytes) -> Place:
    """Give an application message its place in the convo's log.

    Repeating a ``msg_id`` with the same bytes returns the first entry and changes nothing, so a client that
    lost our answer may safely ask again. A used id with other bytes, or of another account, is refused.
    """
    if len(ciphertext) > settings.CIPHERTEXT_MAX_BYTES:
        raise MessageTooLarge(f"A ciphertext is at most {settings.CIPHERTEXT_MAX_BYTES} bytes.")
    with locked_convo(convo_id) as convo:
        require_member(convo_id, who)
        message = _earlier(convo, who, msg_id, ciphertext)
        if message is None:
            require_recent_epoch(convo, epoch)
            require_no_smuggling(ciphertext, group_id=bytes(convo.group_id), epoch=epoch)
            message = append_entry(
                convo, kind=Kind.APP, epoch=epoch, msg_id=msg_id, body=ciphertext, sender_did=who.did
            )
        return Place(
            msg_id=message.msg_id,
            seq=message.seq,
            epoch=message.epoch,
            received_at=message.received_at,
            current_epoch=convo.epoch,
        )


def _earlier(convo: Convo, who: Asking, msg_id: str, ciphertext: bytes) -> Message | None:
    message = convo.messages.filter(msg_id=msg_id).first()
    if message is None:
        return None
    same_sender = bytes(message.sender_tag) == sender_tag(who.did, msg_id)
    if not same_sender or bytes(message.body) != ciphertext:
        raise IdempotencyConflict("This msgId stands for another message.", current_epoch=convo.epoch)
    return message
