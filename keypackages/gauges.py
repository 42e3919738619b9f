"""What staff watch over time, worked out from the directory's tables by one query a reading, however large they are."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Count, DurationField, ExpressionWrapper, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Now
from django.utils import timezone

from catbird_mls.xrpc.readings import Gauge, Reading, Spread
from keypackages.models import UNSETTLED_STATES, Device, State, Welcome
from keypackages.stuck import CAUSES, stuck_welcomes

PACKAGES_BOUNDS = (0, 1, 2, 5, 10, 20, 50, 100)
# A minute, five, an hour, six, a day, a week, thirty days.
AGE_BOUNDS_SECONDS = (60, 300, 3600, 21_600, 86_400, 604_800, 2_592_000)


def recompute_gauges() -> list[Reading]:
    """The directory as it stands."""
    return [_packages_per_device(), _welcomes_by_state(), _ages_of_unsettled_welcomes(), _stuck_by_cause()]


def _packages_per_device() -> Spread:
    unspent = Q(key_packages__spent_at__isnull=True, key_packages__expires_at__gt=Now())
    devices = Device.objects.filter(deleted_at__isnull=True).annotate(left=Count("key_packages", filter=unspent))
    buckets, total = _spread(devices, {str(bound): Q(left__lte=bound) for bound in PACKAGES_BOUNDS}, "left")
    return Spread(
        "catbird_device_key_packages", "Unspent key packages of each registered device.", buckets, float(total or 0)
    )


def _welcomes_by_state() -> Gauge:
    counted = Welcome.objects.order_by().values_list("state").annotate(number=Count("pk"))
    return Gauge("catbird_welcomes", "Welcomes, by state.", "state", _all_of(State.values, counted))


def _ages_of_unsettled_welcomes() -> Spread:
    age = ExpressionWrapper(Value(timezone.now()) - F("created_at"), output_field=DurationField())
    unsettled = Welcome.objects.filter(state__in=UNSETTLED_STATES).annotate(age=age)
    bounds = {str(bound): Q(age__lte=timedelta(seconds=bound)) for bound in AGE_BOUNDS_SECONDS}
    buckets, total = _spread(unsettled, bounds, "age")
    return Spread(
        "catbird_welcome_age_seconds",
        "Age of the Welcomes whose devices are not in yet.",
        buckets,
        total.total_seconds() if total else 0.0,
    )


def _stuck_by_cause() -> Gauge:
    counted = stuck_welcomes().order_by().values_list(F("cause")).annotate(number=Count("pk"))
    return Gauge("catbird_stuck_welcomes", "Welcomes that wait too long, by cause.", "cause", _all_of(CAUSES, counted))


def _spread(rows: QuerySet[Any], bounds: dict[str, Q], summed: str) -> tuple[dict[str, float], Any]:
    """How many rows are within each bound, then all of them; and the sum of a column."""
    within = {f"within_{bound}": Count("pk", filter=condition) for bound, condition in bounds.items()}
    found = rows.aggregate(**within, within_all=Count("pk"), total=Sum(summed))
    buckets: dict[str, float] = {bound: found[f"within_{bound}"] for bound in bounds}
    return buckets | {"+Inf": found["within_all"]}, found["total"]


def _all_of(words: Sequence[str], counted: Any) -> dict[str, float]:
    """Zero for a word that nothing was counted for, so that a series never goes missing."""
    return dict.fromkeys(words, 0.0) | dict(counted)
