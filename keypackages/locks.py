"""Row locks of the directory. In the whole code base the order is: convo, then key packages, then mailboxes."""

from collections.abc import Iterable

from django.db import transaction

from keypackages.models import OPEN_STATES, Device, KeyPackage, Welcome


def locked_key_packages(references: Iterable[bytes]) -> list[KeyPackage]:
    """Hold the packages of these references, in the order of their ids, until the transaction ends."""
    assert transaction.get_connection().in_atomic_block
    return list(KeyPackage.objects.select_for_update(no_key=True).filter(reference__in=list(references)).order_by("pk"))


def locked_open_welcomes(*, convo_id: str, did: str, device_id: str | None) -> list[Welcome]:
    """Hold the Welcomes of one account or device that may still be used, oldest first."""
    assert transaction.get_connection().in_atomic_block
    mine = Welcome.objects.select_for_update(no_key=True, of=("self",)).filter(
        convo_id=convo_id, did=did, state__in=OPEN_STATES
    )
    if device_id is not None:
        mine = mine.filter(device_id__in=[device_id, ""])
    return list(mine.order_by("pk"))


def locked_devices(did: str) -> list[Device]:
    """Hold the registered devices of an account, so that two registrations count one another."""
    assert transaction.get_connection().in_atomic_block
    return list(Device.objects.select_for_update(no_key=True).filter(did=did, deleted_at__isnull=True).order_by("pk"))
