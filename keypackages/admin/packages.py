from functools import partial
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Case, CharField, F, Func, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from catbird_mls.staff import (
    ReadOnlyAdmin,
    account,
    age_filter,
    ago,
    badge,
    joined,
    labelled,
    link,
    list_link,
    moment,
    named_filter,
    reference,
)
from keypackages.framing import SUITES
from keypackages.models import KeyPackage

REFERENCE_DIGITS = 16
WELCOMES_SHOWN_MAX = 5

AVAILABLE, SPENT, CONSUMED, EXPIRED = STATES = ("available", "spent", "consumed", "expired")
# What a Welcome's package can be beside that.
UNKNOWN, NOT_NAMED = ("unknown", "not named")
KINDS = {AVAILABLE: "success", SPENT: "info", EXPIRED: "danger", UNKNOWN: "danger"}


def package_state(path: str = "") -> Case:
    """What has become of a package, in a word."""

    def holds(**conditions: Any) -> Q:
        return Q(**{path + name: value for name, value in conditions.items()})

    return Case(
        When(holds(consumed_at__isnull=False), then=Value(CONSUMED)),
        When(holds(expires_at__lte=timezone.now()), then=Value(EXPIRED)),
        When(holds(spent_at__isnull=False), then=Value(SPENT)),
        default=Value(AVAILABLE),
        output_field=CharField(),
    )


def digits() -> Left:
    """The beginning of a reference, by which logs of clients can be compared."""
    return Left(Func(F("reference"), Value("hex"), function="encode", output_field=TextField()), REFERENCE_DIGITS)


@admin.register(KeyPackage)
class KeyPackageAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        "short_reference",
        account(),
        "owner",
        "state",
        "kept_for_last",
        ago("published_at"),
        ago("expires_at", "expires"),
        ago("spent_at"),
        reference("spent_in_convo", "spent in conversation"),
    ]
    list_filter: ClassVar = [
        named_filter("state", "state", {name: partial(Q, state=name) for name in STATES}),
        "last_resort",
        named_filter("cipher suite", "suite", {name: partial(Q, cipher_suite=name) for name in SUITES}),
        age_filter("published_at", "published", "published"),
    ]
    search_fields: ClassVar = ["did", "device__id", "spent_in_convo"]
    fieldsets: ClassVar = [
        (
            None,
            {
                "fields": [
                    "short_reference",
                    "state",
                    "kept_for_last",
                    labelled("did", "account"),
                    "owner",
                    "cipher_suite",
                ]
            },
        ),
        (
            "What became of it",
            {
                "fields": [
                    moment("published_at"),
                    moment("expires_at", "expires"),
                    moment("handed_out_at", "last handed out"),
                    moment("spent_at"),
                    reference("spent_in_convo", "spent in conversation", brief=False),
                    reference("spent_by_device", "spent by device", brief=False),
                    moment("consumed_at"),
                    "let_in_by",
                ]
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[KeyPackage]:
        packages: QuerySet[KeyPackage] = super().get_queryset(request)
        return packages.annotate(state=package_state(), short_reference=digits(), device_name=F("device__name"))

    @admin.display(description="reference", ordering="reference")
    def short_reference(self, package: Any) -> str:
        return f"{package.short_reference}…"

    @admin.display(description="device", ordering="device_name")
    def owner(self, package: Any) -> SafeString | None:
        return link("keypackages_device", package.device_id, package.device_name)

    @admin.display(description="state", ordering="state")
    def state(self, package: Any) -> SafeString:
        return badge(package.state, KINDS.get(package.state, ""))

    @admin.display(description="last resort", ordering="last_resort")
    def kept_for_last(self, package: KeyPackage) -> str | None:
        return "last resort" if package.last_resort else None

    @admin.display(description="Welcomes made for it")
    def let_in_by(self, package: KeyPackage) -> SafeString | None:
        welcomes = list(package.welcomes.order_by("-pk").only("state", "convo_id")[: WELCOMES_SHOWN_MAX + 1])
        shown = [
            link("keypackages_welcome", one.pk, f"{one.state}, into {one.convo_id[:8]}…")
            for one in welcomes[:WELCOMES_SHOWN_MAX]
        ]
        if len(welcomes) > WELCOMES_SHOWN_MAX:
            shown.append(list_link("keypackages_welcome", "all of them", key_package__id__exact=package.pk))
        return joined(shown) or None
