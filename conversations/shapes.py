"""Rows as the wire shows them."""

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils import timezone

from catbird_mls.xrpc.fields import wire_bytes, wire_time
from conversations.framing import external_sender
from conversations.models import Convo, Kind, Message

PAGE_MAX_BYTES = 8 * 1024 * 1024


class LogEntry(NamedTuple):
    """A row of a log as pages show it."""

    seq: int
    epoch: int
    kind: str
    msg_id: str
    sender_did: str
    received_at: datetime
    body: bytes


def ephemeral_view(convo: Convo, *, msg_id: str, epoch: int, ciphertext: bytes) -> dict[str, Any]:
    """The same for a message that has no place in the log, and so none of its numbers."""
    return {
        "id": msg_id,
        "convoId": convo.pk,
        "ciphertext": wire_bytes(ciphertext),
        "epoch": epoch,
        "seq": 0,
        "createdAt": wire_time(timezone.now()),
        "messageType": Kind.APP.value,
    }


def message_view(message: Message | LogEntry, convo_id: str) -> dict[str, Any]:
    """defs#messageView; it names no sender, because MLS does."""
    return {
        "id": message.msg_id,
        "convoId": convo_id,
        "ciphertext": wire_bytes(bytes(message.body)),
        "epoch": message.epoch,
        "seq": message.seq,
        "createdAt": wire_time(message.received_at),
        "messageType": message.kind,
    }


def commit_view(commit: Message | LogEntry) -> dict[str, Any]:
    """getCommits#commitMessage, with the epoch the commit leads to."""
    return {
        "epoch": commit.epoch,
        "sender": commit.sender_did,
        "commitData": wire_bytes(bytes(commit.body)),
        "createdAt": wire_time(commit.received_at),
    }


def external_sender_view(signature_key: bytes) -> dict[str, Any] | None:
    """registerDevice#externalSender for a device that signs with this key."""
    sender = external_sender(signature_key)
    if sender is None:
        return None
    return {"credential": wire_bytes(sender.credential), "signatureKey": wire_bytes(sender.signature_key)}


def page_of(found: QuerySet[Message], limit: int, most: int | None = None) -> tuple[list[Message], bool]:
    """The first entries, at least one, as many as a page's count and bytes allow, and whether there are more.

    Sizes are looked at first, so that nothing is read that the page has no room for.
    """
    ahead = list(found.values_list("seq", "size")[: limit + 1])
    kept: list[int] = []
    left = most or PAGE_MAX_BYTES
    for seq, size in ahead[:limit]:
        left -= size
        if kept and left < 0:
            break
        kept.append(seq)
    return list(found.filter(seq__in=kept)) if kept else [], len(ahead) > len(kept)
