"""How an entry gets its place, and how a repeated request finds its first answer."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.utils import timezone

from conversations.errors import IdempotencyConflict
from conversations.models import Answer, Convo, Kind, Message
from conversations.selectors import Asking
from delivery.services import schedule_delivery
from keypackages.services import note_epoch


def append_entry(convo: Convo, *, kind: Kind, epoch: int, msg_id: str, body: bytes, sender_did: str) -> Message:
    """Give an entry the next place in a log whose convo the caller holds."""
    convo.last_seq += 1
    convo.epoch = epoch if kind == Kind.COMMIT else convo.epoch
    convo.last_message_at = timezone.now()
    convo.save(update_fields=["last_seq", "epoch", "last_message_at"])
    message = Message.objects.create(
        convo=convo,
        seq=convo.last_seq,
        epoch=epoch,
        kind=kind,
        msg_id=msg_id,
        sender_tag=sender_tag(sender_did, msg_id),
        sender_did="" if kind == Kind.APP else sender_did,
        body=body,
        size=len(body),
        received_at=convo.last_message_at,
    )
    schedule_delivery(convo_id=convo.pk, seq=message.seq)
    if kind == Kind.COMMIT:
        note_epoch(convo_id=convo.pk, epoch=epoch)
    return message


def sender_tag(did: str, msg_id: str) -> bytes:
    """Tells whether a repeated id comes from the same account, without telling which account that is."""
    return hmac.digest(settings.MESSAGE_TAG_KEY.encode(), f"{did} {msg_id}".encode(), "sha256")


def handshake_id(body: bytes) -> str:
    """The id of a commit or proposal: its content, so that the same bytes always meet their first entry."""
    return hashlib.sha256(body).hexdigest()


def commit_on_file(convo: Convo, who: Asking, commit: bytes) -> Message | None:
    """The entry these very bytes of the caller's already are: the answer to a client that lost the first one."""
    msg_id = handshake_id(commit)
    earlier = Message.objects.filter(convo=convo, msg_id=msg_id, kind=Kind.COMMIT).first()
    return earlier if earlier and bytes(earlier.sender_tag) == sender_tag(who.did, msg_id) else None


def request_digest(parts: Iterable[bytes | str | None]) -> bytes:
    """One hash for a whole request; lengths keep its parts apart."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part or b""
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def first_answer(convo: Convo, who: Asking, *, nsid: str, key: str | None, digest: bytes) -> dict[str, Any] | None:
    """The answer this key has already been given; a key used for something else is refused."""
    if not key:
        return None
    earlier = Answer.objects.filter(convo=convo, did=who.did, nsid=nsid, key=key).first()
    if earlier is None:
        return None
    if bytes(earlier.digest) != digest:
        raise IdempotencyConflict("The idempotency key was used for another request.", current_epoch=convo.epoch)
    answer: dict[str, Any] = earlier.answer
    return answer


def keep_answer(
    convo: Convo, who: Asking, *, nsid: str, key: str | None, digest: bytes, answer: dict[str, Any]
) -> None:
    if key:
        Answer.objects.create(convo=convo, did=who.did, nsid=nsid, key=key, digest=digest, answer=answer)
