"""How an entry gets its place, and how a repeated request finds its first answer."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from catbird_mls.compiled import compiled
from catbird_mls.rows import add_rows, save_fields
from conversations.errors import IdempotencyConflict
from conversations.models import Answer, Convo, Epoch, Kind, Message
from conversations.selectors import Asking
from delivery.services import schedule_delivery

CREATE_CONVO = "blue.catbird.mls.createConvo"
ADD_MEMBERS = "blue.catbird.mls.addMembers"
REMOVE_MEMBER = "blue.catbird.mls.removeMember"
LEAVE_CONVO = "blue.catbird.mls.leaveConvo"
SEND_MESSAGE = "blue.catbird.mls.sendMessage"
UPDATE_GROUP_INFO = "blue.catbird.mls.updateGroupInfo"
PROCESS_EXTERNAL_COMMIT = "blue.catbird.mls.processExternalCommit"


class Author(Protocol):
    """An account, and the device where it is known."""

    @property
    def did(self) -> str: ...

    @property
    def device_id(self) -> str | None: ...


class Placed(Author, Protocol):
    """A device with its leaf, where the convo's tree is known."""

    @property
    def leaf_index(self) -> int | None: ...


def append_entry(convo: Convo, *, kind: Kind, epoch: int, msg_id: str, body: bytes, sender_did: str) -> Message:
    """Give an entry the next place in a log whose convo the caller holds."""
    convo.last_seq += 1
    convo.epoch = epoch if kind == Kind.COMMIT else convo.epoch
    convo.last_message_at = timezone.now()
    save_fields(convo, "last_seq", "epoch", "last_message_at")
    message = Message(
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
    add_rows([message])
    convo.author = message.sender_did or None
    schedule_delivery(convo_id=convo.pk, seq=message.seq)
    return message


def record_epoch(
    convo: Convo, *, by: Author, nsid: str, added: Sequence[Placed] = (), removed: Sequence[Placed] = ()
) -> None:
    """How the convo's epoch began, for the ledger."""
    epoch = Epoch(
        convo=convo,
        epoch=convo.epoch,
        seq=convo.last_seq,
        nsid=nsid,
        committer_did=by.did,
        committer_device_id=by.device_id or "",
        added=[_named(one) for one in added],
        removed=[_named(one) for one in removed],
    )
    add_rows([epoch])


def sender_tag(did: str, msg_id: str) -> bytes:
    """Tells whether a repeated id comes from the same account, without telling which account that is."""
    return hmac.digest(settings.MESSAGE_TAG_KEY.encode(), f"{did} {msg_id}".encode(), "sha256")


def handshake_id(body: bytes) -> str:
    """The id of a commit or proposal: its content, so that the same bytes always meet their first entry."""
    return hashlib.sha256(body).hexdigest()


def commit_on_file(convo: Convo, who: Asking, commit: bytes) -> Message | None:
    """The entry these very bytes of the caller's already are: the answer to a client that lost the first one."""
    msg_id = handshake_id(commit)
    earlier = next(iter(commits_by_id(convo.pk, msg_id)), None)
    return earlier if earlier and bytes(earlier.sender_tag) == sender_tag(who.did, msg_id) else None


@compiled
def commits_by_id(convo_id: str, msg_id: str) -> QuerySet[Message]:
    return Message.objects.filter(convo_id=convo_id, msg_id=msg_id, kind=Kind.COMMIT).defer("body")


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
    earlier = next(iter(answers_by_key(convo.pk, who.did, nsid, key)), None)
    if earlier is None:
        return None
    if bytes(earlier.digest) != digest:
        raise IdempotencyConflict("The idempotency key was used for another request.", current_epoch=convo.epoch)
    answer: dict[str, Any] = earlier.answer
    return answer


@compiled
def answers_by_key(convo_id: str, did: str, nsid: str, key: str) -> QuerySet[Answer]:
    return Answer.objects.filter(convo_id=convo_id, did=did, nsid=nsid, key=key)


def _named(one: Placed) -> list[Any]:
    return [one.did, one.device_id, one.leaf_index]


def keep_answer(
    convo: Convo, who: Asking, *, nsid: str, key: str | None, digest: bytes, answer: dict[str, Any]
) -> None:
    if key:
        add_rows([Answer(convo=convo, did=who.did, nsid=nsid, key=key, digest=digest, answer=answer)])
