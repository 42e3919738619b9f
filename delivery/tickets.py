"""Tickets for streams: whoever holds one may open one stream, once and soon."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import redis
from django.utils import timezone

from catbird_mls.xrpc.bus import impatient_bus
from catbird_mls.xrpc.errors import InvalidToken, NotEnoughResources
from delivery.selectors import Reader

KEY = "catbird:ticket"
LIFETIME_SECONDS = 30
TICKET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    text: str
    expires_at: datetime


def issue_ticket(reader: Reader) -> Ticket:
    """For one stream of this reader. The store keeps its hash, so that nobody who sees the store holds tickets."""
    ticket = Ticket(secrets.token_urlsafe(TICKET_BYTES), timezone.now() + timedelta(seconds=LIFETIME_SECONDS))
    try:
        with impatient_bus() as bus:
            bus.set(_key(ticket.text), msgspec.json.encode(reader), ex=LIFETIME_SECONDS)
    except redis.RedisError:
        raise _no_store() from None
    return ticket


def redeem_ticket(text: str) -> Reader:
    """What the ticket is good for; from then on it is good for nothing, in any process."""
    try:
        with impatient_bus() as bus:
            kept = bus.getdel(_key(text))
    except redis.RedisError:
        raise _no_store() from None
    if kept is None:
        raise InvalidToken("The ticket is unknown, used or expired.")
    return msgspec.json.decode(bytes(kept), type=Reader)


def _key(text: str) -> str:
    return f"{KEY}:{hashlib.sha256(text.encode()).hexdigest()}"


def _no_store() -> NotEnoughResources:
    error = NotEnoughResources("Tickets cannot be kept at the moment; streamConvoEvents needs none.")
    error.headers = {"Retry-After": "2"}
    return error
