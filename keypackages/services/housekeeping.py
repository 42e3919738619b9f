"""What beat does to the directory: every job is bounded, may run twice at once, and changes nothing the second time."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from keypackages.locks import some_ended_packages, some_expired_welcomes
from keypackages.models import OPEN_STATES, UNSETTLED_STATES, Device, KeyPackage, State, Welcome, WelcomeBody
from keypackages.selectors import DeviceRef, device_ref
from keypackages.services.counters import count
from keypackages.services.welcomes import StuckWelcome
from keypackages.stock import low_devices

BATCH = 500


def _nothing(_: object) -> None:
    """What is done with a claim by whoever does it afterwards."""


def expire_welcomes() -> int:
    """Welcomes whose package has ended admit nobody any more; their devices still wait for another way in."""
    with transaction.atomic(durable=True):
        welcomes = some_expired_welcomes(BATCH)
        Welcome.objects.filter(pk__in=[welcome.pk for welcome in welcomes], state__in=OPEN_STATES).update(
            state=State.EXPIRED, ended_at=timezone.now(), reason="its key package has ended"
        )
    return len(welcomes)


def drop_expired_packages() -> int:
    """Unspent packages that have ended leave the directory; the counters keep that they were there."""
    with transaction.atomic(durable=True):
        packages = some_ended_packages(BATCH, spent=False, before=timezone.now())
        count("expired", [(package.did, package.cipher_suite) for package in packages])
        KeyPackage.objects.filter(pk__in=[package.pk for package in packages]).delete()
    return len(packages)


def purge_spent_packages() -> int:
    """Spent packages go some time after their end, when they could not be published again anyway."""
    keep = timedelta(days=settings.CATBIRD_DIRECTORY_KEEP_DAYS)
    with transaction.atomic(durable=True):
        packages = some_ended_packages(BATCH, spent=True, before=timezone.now() - keep)
        unsettled = Welcome.objects.filter(key_package__in=packages, state__in=UNSETTLED_STATES)
        kept = set(unsettled.values_list("key_package_id", flat=True))
        ids = [package.pk for package in packages if package.pk not in kept]
        Welcome.objects.filter(key_package_id__in=ids).update(key_package=None)
        KeyPackage.objects.filter(pk__in=ids).delete()
    return len(ids)


def purge_welcome_bodies() -> int:
    """The bytes of Welcomes that nobody can use any more go; a row without bytes stays, so that 410 stays 410."""
    keep = timedelta(days=settings.CATBIRD_DIRECTORY_KEEP_DAYS)
    with transaction.atomic(durable=True):
        old = WelcomeBody.objects.filter(created_at__lt=timezone.now() - keep)
        usable = Welcome.objects.filter(state__in=OPEN_STATES, body__isnull=False).values("body_id")
        ids = list(old.exclude(pk__in=usable).order_by("pk").values_list("pk", flat=True)[:BATCH])
        Welcome.objects.filter(body_id__in=ids).update(body=None)
        WelcomeBody.objects.filter(pk__in=ids).delete()
    return len(ids)


def claim_low_stock(then: Callable[[DeviceRef], object] = _nothing) -> list[DeviceRef]:
    """Devices that are to be told that they run out of packages; each is claimed by one caller a day.

    ``then`` is part of the claim's transaction: whoever dies before it is done has claimed nothing.
    """
    now = timezone.now()
    low = low_devices(low=settings.CATBIRD_LOW_KEY_PACKAGES, before=now - timedelta(days=1), limit=BATCH)
    return [device_ref(device) for device in low if _claim_notice(device, now, then)]


def claim_rings(then: Callable[[StuckWelcome], object] = _nothing) -> list[StuckWelcome]:
    """Welcomes that wait too long and are to be rung for again; each is claimed by one caller an interval.

    ``then`` is part of the claim's transaction, as above.
    """
    now = timezone.now()
    patience = timedelta(seconds=settings.CATBIRD_WELCOME_STUCK_SECONDS)
    waiting = Welcome.objects.filter(state=State.WAITING, created_at__lt=now - patience).exclude(device_id="")
    due = waiting.exclude(rung_at__gt=now - patience).order_by("created_at")[:BATCH]
    return [_as_stuck(welcome) for welcome in due if _claim_ring(welcome, then)]


def _claim_notice(device: Device, now: datetime, then: Callable[[DeviceRef], object]) -> bool:
    with transaction.atomic(durable=True):
        mine = Device.objects.filter(pk=device.pk, low_stock_noticed_at=device.low_stock_noticed_at)
        claimed = bool(mine.update(low_stock_noticed_at=now))
        if claimed:
            then(device_ref(device))
    return claimed


def _claim_ring(welcome: Welcome, then: Callable[[StuckWelcome], object]) -> bool:
    with transaction.atomic(durable=True):
        mine = Welcome.objects.filter(pk=welcome.pk, rung_at=welcome.rung_at, state=State.WAITING)
        claimed = bool(mine.update(rung_at=timezone.now(), rings=welcome.rings + 1))
        if claimed:
            then(_as_stuck(welcome))
    return claimed


def _as_stuck(welcome: Welcome) -> StuckWelcome:
    return StuckWelcome(welcome.pk, welcome.convo_id, welcome.did, welcome.device_id)
