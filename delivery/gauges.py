"""What waits to be carried and to be fetched, worked out by one query a reading, however large the tables are."""

from datetime import timedelta

from django.db.models import Count, DurationField, ExpressionWrapper, F, Min, Q, Sum
from django.db.models.functions import Now
from django.utils import timezone

from catbird_mls.xrpc.readings import Gauge, Reading, Spread
from delivery.models import Dispatch, Envelope

# A minute, an hour, a day, a week, thirty days.
AGE_BOUNDS_SECONDS = (60, 3600, 86_400, 604_800, 2_592_000)


def recompute_gauges() -> list[Reading]:
    """Delivery as it stands."""
    return [_dispatch_lag(), _waiting_envelopes()]


def _dispatch_lag() -> Gauge:
    oldest = Dispatch.objects.aggregate(oldest=Min("created_at"))["oldest"]
    age = (timezone.now() - oldest).total_seconds() if oldest else 0.0
    text = "Age of the entry that waits longest to be carried."
    return Gauge("catbird_dispatch_lag_seconds", text, "of", {"oldest": max(0.0, age)})


def _waiting_envelopes() -> Spread:
    within = {
        f"within_{bound}": Count("pk", filter=Q(created_at__gte=Now() - timedelta(seconds=bound)))
        for bound in AGE_BOUNDS_SECONDS
    }
    age = ExpressionWrapper(Now() - F("created_at"), output_field=DurationField())
    found = Envelope.objects.aggregate(**within, within_all=Count("pk"), total=Sum(age))
    buckets: dict[str, float] = {str(bound): found[f"within_{bound}"] for bound in AGE_BOUNDS_SECONDS}
    total = found["total"].total_seconds() if found["total"] else 0.0
    return Spread(
        "catbird_envelopes_waiting",
        "Age of what devices have not acknowledged.",
        buckets | {"+Inf": found["within_all"]},
        total,
    )
