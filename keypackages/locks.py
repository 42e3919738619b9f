"""Row locks of the directory. In the whole code base the order is: convo, then key packages, then mailboxes."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from catbird_mls.compiled import compiled
from keypackages.models import OPEN_STATES, Device, KeyPackage, Welcome


def locked_key_packages(references: Iterable[bytes]) -> list[KeyPackage]:
    """Hold the packages of these references, in the order of their ids, until the transaction ends."""
    assert transaction.get_connection().in_atomic_block
    return key_packages_of(list(references))


@compiled
def key_packages_of(references: Sequence[bytes]) -> QuerySet[KeyPackage]:
    held = KeyPackage.objects.select_for_update(no_key=True, of=("self",)).select_related("device")
    return held.filter(reference__any=references).order_by("pk")


def locked_open_welcomes(*, convo_id: str, did: str, device_id: str | None) -> list[Welcome]:
    """Hold the Welcomes of one account or device that may still be used, oldest first."""
    assert transaction.get_connection().in_atomic_block
    mine = Welcome.objects.select_for_update(no_key=True, of=("self",)).filter(
        convo_id=convo_id, did=did, state__in=OPEN_STATES
    )
    if device_id is not None:
        mine = mine.filter(device_id__in=[device_id, ""])
    return list(mine.order_by("pk"))


def some_ended_packages(limit: int, *, spent: bool, before: datetime) -> list[KeyPackage]:
    """Up to so many packages that ended before a moment; those another job holds are skipped."""
    assert transaction.get_connection().in_atomic_block
    ended = KeyPackage.objects.select_for_update(skip_locked=True).filter(expires_at__lt=before)
    return list(ended.filter(spent_at__isnull=not spent).order_by("pk")[:limit])


def some_expired_welcomes(limit: int) -> list[Welcome]:
    """Up to so many open Welcomes whose package has ended; those another job holds are skipped."""
    assert transaction.get_connection().in_atomic_block
    open_ones = Welcome.objects.select_for_update(skip_locked=True, of=("self",)).filter(state__in=OPEN_STATES)
    return list(open_ones.filter(key_package__expires_at__lt=timezone.now()).order_by("pk")[:limit])


def locked_devices(did: str) -> list[Device]:
    """Hold the registered devices of an account, so that two registrations count one another."""
    assert transaction.get_connection().in_atomic_block
    return list(Device.objects.select_for_update(no_key=True).filter(did=did, deleted_at__isnull=True).order_by("pk"))
