"""The only lock on a convo. Lock order in this code base: convo, then key packages, then mailboxes."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import QuerySet

from catbird_mls.compiled import compiled
from catbird_mls.trips import Asked, read_ahead
from catbird_mls.xrpc.errors import NotMember
from conversations.models import Convo


@contextmanager
def locked_convo(convo_id: str, *ahead: Asked) -> Iterator[Convo]:
    """Hold one convo's row lock for one whole transaction.

    Every write to a convo's log happens inside this block. The lock is what makes ``seq`` gap-free and lets
    exactly one commit win an epoch. What is to be asked first under the lock may be asked together with it.
    """
    with transaction.atomic(durable=True), read_ahead(_held.of(convo_id), *ahead):
        held = _held(convo_id)
        if not held:
            raise NotMember
        yield held[0]


@compiled
def convos_by_id(convo_id: str) -> QuerySet[Convo]:
    """The convo without its lock."""
    return Convo.objects.filter(pk=convo_id)


@compiled
def _held(convo_id: str) -> QuerySet[Convo]:
    # NO KEY: a plain FOR UPDATE would also stall every insert that merely points at this convo.
    return Convo.objects.select_for_update(no_key=True).filter(pk=convo_id)
