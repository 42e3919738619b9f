"""Welcomes that do not arrive: which, for how long, and why, in words."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Case, CharField, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.utils import timezone

from keypackages.models import UNSETTLED_STATES, Device, State, Welcome

# In the order in which they explain a stuck Welcome: the first that holds is the cause.
PACKAGE_UNKNOWN = "the key package is unknown"
PACKAGE_EXPIRED = "the key package has ended"
REFUSED = "the device could not use it"
NEVER_CONFIRMED = "fetched but never confirmed"
NEVER_ONLINE = "the device has not been online since"
DEVICE_GONE = "the device is no longer registered"
CONVO_MOVED = "the conversation has moved on"
NOT_ASKED = "the device has not asked for it"
CAUSES = (
    PACKAGE_UNKNOWN,
    PACKAGE_EXPIRED,
    REFUSED,
    NEVER_CONFIRMED,
    DEVICE_GONE,
    NEVER_ONLINE,
    CONVO_MOVED,
    NOT_ASKED,
)


def stuck_welcomes() -> QuerySet[Welcome]:
    """Welcomes that are unsettled for longer than the threshold, each annotated with its ``cause``."""
    patience = timedelta(seconds=settings.CATBIRD_WELCOME_STUCK_SECONDS)
    return with_cause(Welcome.objects.filter(state__in=UNSETTLED_STATES, created_at__lt=timezone.now() - patience))


def with_cause(welcomes: QuerySet[Welcome]) -> QuerySet[Welcome]:
    """Each with ``cause``, ``device_name``, ``last_contact`` and ``distance`` in epochs, by one query."""
    device = Device.objects.filter(pk=OuterRef("device_id"), deleted_at__isnull=True)
    known = welcomes.annotate(
        last_contact=Subquery(device.values("last_seen_at")[:1]),
        device_name=Subquery(device.values("name")[:1]),
        device_known=Exists(device),
        distance=F("convo_epoch") - F("epoch"),
    )
    return known.annotate(cause=_cause())


def _cause() -> Case:
    ended = Q(state=State.EXPIRED) | Q(key_package__expires_at__lte=timezone.now())
    return Case(
        When(~Q(state__in=UNSETTLED_STATES), then=Value("")),
        When(Q(key_package__isnull=True) & ~Q(reference=b""), then=Value(PACKAGE_UNKNOWN)),
        When(ended, then=Value(PACKAGE_EXPIRED)),
        When(Q(state=State.WAITING) & ~Q(reason=""), then=Value(REFUSED)),
        When(state=State.FETCHED, then=Value(NEVER_CONFIRMED)),
        When(Q(device_known=False) & ~Q(device_id=""), then=Value(DEVICE_GONE)),
        When(last_contact__lte=F("created_at"), then=Value(NEVER_ONLINE)),
        When(distance__gt=0, then=Value(CONVO_MOVED)),
        default=Value(NOT_ASKED),
        output_field=CharField(),
    )
