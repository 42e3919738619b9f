"""What an account's packages have come to: true numbers, from the packages and, for what was purged, the counters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q, QuerySet, Sum
from django.utils import timezone

from catbird_mls.xrpc.errors import InvalidCursor
from keypackages.models import DailyCount, Device, KeyPackage
from keypackages.selectors import available_key_packages, registered_devices

KEY_PACKAGE_THRESHOLD = 20
DAYS_OF_AVERAGE = 7


@dataclass(frozen=True, slots=True)
class Status:
    """How many packages there ever were, and what has become of them."""

    uploaded: int
    available: int
    consumed: int
    reserved: int


def stats(*, did: str, cipher_suite: str | None) -> dict[str, Any]:
    """What getKeyPackageStats tells."""
    now = timezone.now()
    packages = KeyPackage.objects.filter(did=did, device__deleted_at__isnull=True)
    counts = DailyCount.objects.filter(did=did)
    if cipher_suite:
        packages, counts = packages.filter(cipher_suite=cipher_suite), counts.filter(cipher_suite=cipher_suite)
    recent = packages.aggregate(
        available=_available(now),
        day=Count("pk", filter=Q(spent_at__gt=now - timedelta(days=1))),
        week=Count("pk", filter=Q(spent_at__gt=now - timedelta(days=DAYS_OF_AVERAGE))),
        first_expiry=Min("expires_at", filter=Q(spent_at__isnull=True, expires_at__gt=now)),
    )
    ever = counts.aggregate(published=Sum("published", default=0), spent=Sum("spent", default=0))
    threshold = KEY_PACKAGE_THRESHOLD * max(1, registered_devices(did).count())
    return _stats_view(recent | ever, threshold=threshold, now=now) | {
        "byCipherSuite": _by_cipher_suite(packages, counts, now)
    }


def status(did: str) -> Status:
    """What getKeyPackageStatus tells; reserved are those spent by a commit whose Welcome was not taken yet."""
    ever = DailyCount.objects.filter(did=did).aggregate(up=Sum("published", default=0), used=Sum("spent", default=0))
    waiting = KeyPackage.objects.filter(did=did, spent_at__isnull=False, consumed_at__isnull=True).count()
    available = available_key_packages().filter(did=did).count()
    return Status(uploaded=ever["up"], available=available, consumed=ever["used"] - waiting, reserved=waiting)


def consumed_page(*, did: str, limit: int, cursor: str | None) -> tuple[list[KeyPackage], str | None]:
    """Packages a Welcome was taken with, newest first."""
    taken = KeyPackage.objects.filter(did=did, consumed_at__isnull=False)
    return _page(taken, limit=limit, cursor=cursor)


def history_page(*, did: str, limit: int, cursor: str | None) -> tuple[list[KeyPackage], str | None]:
    """Every package that is still kept, newest first."""
    return _page(KeyPackage.objects.filter(did=did), limit=limit, cursor=cursor)


def unspent(*, did: str, device_id: str | None) -> int:
    """How many packages can still be handed out, of one device or of all."""
    mine = available_key_packages().filter(did=did)
    return (mine if device_id is None else mine.filter(device_id=device_id)).count()


def low_devices(*, low: int, before: datetime, limit: int) -> list[Device]:
    """Devices that run out of packages and were not told since ``before``."""
    left = Count(
        "key_packages", filter=Q(key_packages__spent_at__isnull=True, key_packages__expires_at__gt=timezone.now())
    )
    untold = Q(low_stock_noticed_at__isnull=True) | Q(low_stock_noticed_at__lt=before)
    devices = Device.objects.filter(untold, deleted_at__isnull=True).annotate(left=left).filter(left__lt=low)
    return list(devices.order_by("pk")[:limit])


def _page(packages: QuerySet[KeyPackage], *, limit: int, cursor: str | None) -> tuple[list[KeyPackage], str | None]:
    if cursor is not None:
        if not cursor.isdecimal():
            raise InvalidCursor
        packages = packages.filter(pk__lt=int(cursor))
    found = list(packages.order_by("-pk")[: limit + 1])
    return found[:limit], str(found[limit - 1].pk) if len(found) > limit else None


def _available(now: datetime) -> Count:
    return Count("pk", filter=Q(spent_at__isnull=True, expires_at__gt=now))


def _stats_view(numbers: dict[str, Any], *, threshold: int, now: datetime) -> dict[str, Any]:
    """The two rates are in hundredths, as deployed clients read them."""
    daily = numbers["week"] * 100 // DAYS_OF_AVERAGE
    expiry = numbers["first_expiry"]
    return {
        "available": numbers["available"],
        "threshold": threshold,
        "needsReplenish": numbers["available"] < threshold,
        "total": numbers["published"],
        "consumed": numbers["spent"],
        "consumedLast24h": numbers["day"],
        "consumedLast7d": numbers["week"],
        "averageDailyConsumption": daily,
        "predictedDepletionDays": numbers["available"] * 10_000 // daily if daily else None,
        "oldestExpiresIn": _days_and_hours(expiry - now) if expiry else None,
    }


def _days_and_hours(left: timedelta) -> str:
    return f"{left.days}d {left.seconds // 3600}h"


def _by_cipher_suite(
    packages: QuerySet[KeyPackage], counts: QuerySet[DailyCount], now: datetime
) -> Sequence[dict[str, Any]]:
    available = dict(packages.values_list("cipher_suite").annotate(left=_available(now)).order_by())
    spent = dict(counts.values_list("cipher_suite").annotate(used=Sum("spent")).order_by())
    return [
        {"cipherSuite": suite, "available": available.get(suite, 0), "consumed": spent.get(suite, 0)}
        for suite in sorted(available.keys() | spent.keys())
    ]
