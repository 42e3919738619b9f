from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from catbird_mls.staff import (
    ReadOnlyAdmin,
    account,
    age_filter,
    ago,
    badge,
    ended_filter,
    joined,
    labelled,
    list_link,
    moment,
    named_filter,
)
from keypackages.admin.packages import STATES, package_state
from keypackages.models import UNSETTLED_STATES, DailyCount, Device, KeyPackage, OptIn, Welcome

RECOVERY: dict[str, Callable[[], Q]] = {
    "needed": partial(Q, needs_recovery_at__isnull=False),
    "not needed": partial(Q, needs_recovery_at__isnull=True),
}
STOCK: dict[str, Callable[[], Q]] = {
    "none left": lambda: Q(unspent=0, deleted_at__isnull=True),
    "running low": lambda: Q(unspent__lt=settings.CATBIRD_LOW_KEY_PACKAGES, deleted_at__isnull=True),
}


def unspent() -> Coalesce:
    """How many packages can still be handed out for a device."""
    left = KeyPackage.objects.filter(device=OuterRef("pk"), spent_at__isnull=True, expires_at__gt=timezone.now())
    counted = left.order_by().values("device").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted), 0)


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        "name",
        account(),
        ago("last_seen_at", "last contact"),
        ago("registered_at"),
        "unspent_packages",
        ago("needs_recovery_at", "needs recovery"),
        ago("deleted_at"),
    ]
    list_filter: ClassVar = [
        ended_filter("deleted_at", "device", unended="registered", ended="deleted"),
        named_filter("recovery", "recovery", RECOVERY),
        named_filter("unspent packages", "stock", STOCK),
        age_filter("last_seen_at", "last contact", "contact"),
    ]
    search_fields: ClassVar = ["id", "did", "device_uuid", "name"]
    fieldsets: ClassVar = [
        (None, {"fields": ["name", labelled("did", "account"), "id", labelled("device_uuid", "its own UUID")]}),
        (
            "What is known of it",
            {
                "fields": [
                    moment("registered_at"),
                    moment("last_seen_at", "last contact"),
                    moment("low_stock_noticed_at", "told that packages run out"),
                    moment("needs_recovery_at", "needs recovery since"),
                    moment("deleted_at"),
                ]
            },
        ),
        ("See also", {"fields": ["packages", "welcomes", "elsewhere"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        devices: QuerySet[Device] = super().get_queryset(request)
        return devices.annotate(unspent=unspent())

    @admin.display(description="unspent packages", ordering="unspent")
    def unspent_packages(self, device: Any) -> SafeString:
        low = device.unspent < settings.CATBIRD_LOW_KEY_PACKAGES and device.deleted_at is None
        return badge(str(device.unspent), ("warning" if device.unspent else "danger") if low else "")

    @admin.display(description="key packages")
    def packages(self, device: Device) -> SafeString:
        """By state, each number with a link to those it counts."""
        counts = dict(device.key_packages.annotate(state=package_state()).values_list("state").annotate(Count("pk")))
        mine = {"device__id__exact": device.pk}
        return joined(
            list_link("keypackages_keypackage", f"{counts.get(state, 0)} {state}", state=state, **mine)
            for state in STATES
        )

    @admin.display(description="Welcomes")
    def welcomes(self, device: Device) -> SafeString:
        waiting = Welcome.objects.filter(device_id=device.pk, state__in=UNSETTLED_STATES).count()
        mine = {"device_id__exact": device.pk}
        return joined(
            [
                list_link("keypackages_welcome", f"{waiting} unsettled", which="unsettled", **mine),
                list_link("keypackages_welcome", "all", which="everything", **mine),
            ]
        )

    @admin.display(description="elsewhere")
    def elsewhere(self, device: Device) -> SafeString:
        mine = {"device_id__exact": device.pk}
        return joined(
            [
                list_link("conversations_member", "its places in conversations", **mine),
                list_link("delivery_mailbox", "mailboxes", **mine),
                list_link("delivery_envelope", "envelopes", **mine),
                list_link("delivery_pushtoken", "push tokens", **mine),
                list_link("delivery_nudge", "push nudges", **mine),
                list_link("keypackages_device", "devices of the account", did__exact=device.did),
                list_link("keypackages_dailycount", "daily counts of the account", did__exact=device.did),
            ]
        )


@admin.register(OptIn)
class OptInAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [labelled("did", "account"), "opted_in", ago("changed_at")]
    list_filter: ClassVar = ["opted_in"]
    search_fields: ClassVar = ["did"]


@admin.register(DailyCount)
class DailyCountAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [labelled("did", "account"), "day", "cipher_suite", "published", "spent", "expired"]
    search_fields: ClassVar = ["did"]
