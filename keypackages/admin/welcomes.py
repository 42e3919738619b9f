from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import Case, F, OrderBy, OuterRef, Q, QuerySet, Subquery, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from catbird_mls.staff import (
    ReadOnlyAdmin,
    account,
    age_filter,
    ago,
    badge,
    exact,
    human,
    joined,
    labelled,
    link,
    list_link,
    moment,
    named_filter,
    reference,
    shortened,
)
from keypackages.admin.mending import MendingAdmin
from keypackages.admin.packages import KINDS, NOT_NAMED, UNKNOWN, package_state
from keypackages.models import UNSETTLED_STATES, Device, State, Welcome, WelcomeBody
from keypackages.stuck import CAUSES, with_cause

STATE_KINDS: dict[str, str] = {
    State.WAITING: "info",
    State.FETCHED: "warning",
    State.CONFIRMED: "success",
    State.REFUSED: "danger",
    State.EXPIRED: "danger",
}
WORDS_SHOWN_LENGTH = 48


def is_stuck() -> Q:
    patience = timedelta(seconds=settings.CATBIRD_WELCOME_STUCK_SECONDS)
    return Q(state__in=UNSETTLED_STATES, created_at__lt=timezone.now() - patience)


def state_of_its_package() -> Case:
    return Case(
        When(Q(key_package__isnull=True) & Q(reference=b""), then=Value(NOT_NAMED)),
        When(key_package__isnull=True, then=Value(UNKNOWN)),
        default=package_state("key_package__"),
    )


def wide(words: str) -> SafeString | None:
    """Words in a column that other columns shall not press into one word a line."""
    shown = shortened(words, WORDS_SHOWN_LENGTH)
    return format_html('<div class="min-w-32" title="{}">{}</div>', words, shown) if words else None


class Which(admin.SimpleListFilter):
    """What the page is about before anybody asks for more: the Welcomes that have not arrived."""

    title = "arrival"
    parameter_name = "which"
    neutral = frozenset({"which", "o", "p", "all", "e", "_facets"})

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.default = "everything" if set(request.GET) - self.neutral else "unsettled"
        super().__init__(request, *args)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("unsettled", "Unsettled"), ("stuck", "Stuck"), ("everything", "Everything")]

    def value(self) -> str:
        return super().value() or self.default

    def choices(self, changelist: Any) -> Iterator[Any]:
        for name, display in self.lookup_choices:
            query_string = changelist.get_query_string({"which": name})
            yield {"selected": self.value() == name, "query_string": query_string, "display": display}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Welcome]) -> QuerySet[Welcome]:
        conditions = {"unsettled": Q(state__in=UNSETTLED_STATES), "stuck": is_stuck()}
        return queryset.filter(conditions.get(self.value(), Q()))


@admin.register(Welcome)
class WelcomeAdmin(MendingAdmin):
    list_fullwidth = True
    list_display: ClassVar = [
        "state_now",
        "age",
        "cause",
        account(),
        "device",
        "package",
        "last_contact",
        "tries",
        "rings",
        "epochs",
        "words",
        reference("convo_id", "conversation"),
    ]
    list_filter: ClassVar = [
        Which,
        "state",
        named_filter("cause", "cause", {cause: partial(Q, stuck_because=cause) for cause in CAUSES}),
        age_filter("created_at", "age", "age"),
    ]
    search_fields: ClassVar = ["convo_id", "did", "device_id", "device_name"]
    fieldsets: ClassVar = [
        (
            None,
            {"fields": ["state_now", "cause", labelled("reason", "reason given"), "tries", "rings", "epochs"]},
        ),
        (
            "When",
            {
                "fields": [
                    moment("created_at", "sent"),
                    moment("first_fetched_at", "first fetched"),
                    moment("rung_at", "last rung for"),
                    moment("ended_at"),
                ]
            },
        ),
        ("For whom", {"fields": [labelled("did", "account"), "device", "contact", "its_package", "others"]}),
        (
            "Into what",
            {
                "fields": [
                    reference("convo_id", "conversation", brief=False),
                    labelled("epoch", "epoch of the Welcome"),
                    labelled("convo_epoch", "epoch of the conversation"),
                    "inside",
                ]
            },
        ),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Also the name of a device that is no longer registered, whose page is still there.
        owner = Device.objects.filter(pk=OuterRef("device_id")).values("name")[:1]
        return with_cause(super().get_queryset(request)).annotate(
            owner=Subquery(owner),
            package_state=state_of_its_package(),
            stuck_because=Case(When(is_stuck(), then=F("cause")), default=Value("")),
        )

    def get_ordering(self, request: HttpRequest) -> list[str | OrderBy]:
        """Longest stuck first; what is settled comes after all that is not."""
        settled = Case(When(state__in=UNSETTLED_STATES, then=Value(0)), default=Value(1))
        return [settled.asc(), "created_at"]

    @admin.display(description="state", ordering="state")
    def state_now(self, welcome: Welcome) -> SafeString:
        return badge(welcome.state, STATE_KINDS.get(welcome.state, ""))

    @admin.display(description="age", ordering="-created_at")
    def age(self, welcome: Welcome) -> SafeString | None:
        return human(welcome.created_at)

    @admin.display(description="stuck because", ordering="stuck_because")
    def cause(self, welcome: Any) -> SafeString | None:
        return wide(welcome.stuck_because)

    @admin.display(description="device", ordering="device_name")
    def device(self, welcome: Any) -> SafeString | str | None:
        if welcome.owner is None:
            return welcome.device_id or None
        gone = "" if welcome.device_name else " (deleted)"
        name = format_html('<span class="block min-w-20">{}{}</span>', welcome.owner, gone)
        return link("keypackages_device", welcome.device_id, name)

    @admin.display(description="package", ordering="package_state")
    def package(self, welcome: Any) -> SafeString:
        label = badge(welcome.package_state, KINDS.get(welcome.package_state, ""))
        if welcome.package_state in {UNKNOWN, NOT_NAMED}:
            return label
        return link("keypackages_keypackage", welcome.key_package_id, label) or label

    @admin.display(description="key package")
    def its_package(self, welcome: Any) -> SafeString:
        label = badge(welcome.package_state, KINDS.get(welcome.package_state, ""))
        return joined(one for one in (label, link("keypackages_keypackage", welcome.key_package_id, "its page")) if one)

    @admin.display(description="last contact", ordering="last_contact")
    def last_contact(self, welcome: Any) -> SafeString | None:
        return human(welcome.last_contact)

    @admin.display(description="last contact of the device")
    def contact(self, welcome: Any) -> SafeString | None:
        return exact(welcome.last_contact)

    @admin.display(description="behind", ordering="distance")
    def epochs(self, welcome: Any) -> str:
        unit = "epoch" if welcome.distance == 1 else "epochs"
        return f"{welcome.distance}\u00a0{unit}"

    @admin.display(description="reason given", ordering="reason")
    def words(self, welcome: Welcome) -> SafeString | None:
        return wide(welcome.reason)

    @admin.display(description="see also")
    def others(self, welcome: Welcome) -> SafeString:
        whose = {"device_id__exact": welcome.device_id} if welcome.device_id else {"did__exact": welcome.did}
        return joined(
            [
                list_link("keypackages_welcome", "all Welcomes of this device", **whose),
                list_link("conversations_member", "its places in conversations", **whose),
                list_link("keypackages_device", "devices of the account", did__exact=welcome.did),
            ]
        )

    @admin.display(description="see also")
    def inside(self, welcome: Welcome) -> SafeString:
        here = {"convo__id__exact": welcome.convo_id}
        return joined(
            [
                list_link("conversations_member", "members", **here),
                list_link("conversations_readditionrequest", "re-adding requests", **here),
                list_link("keypackages_welcome", "all Welcomes into it", convo_id__exact=welcome.convo_id),
            ]
        )


@admin.register(WelcomeBody)
class WelcomeBodyAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["epoch", reference("convo_id", "conversation"), ago("created_at", "age")]
    search_fields: ClassVar = ["convo_id"]

    def get_fields(self, request: HttpRequest, obj: WelcomeBody | None = None) -> list[Any]:
        return [*super().get_fields(request, obj), "recipients"]

    @admin.display(description="recipients")
    def recipients(self, body: WelcomeBody) -> SafeString:
        return list_link("keypackages_welcome", f"{body.recipients.count()} Welcomes", body__id__exact=body.pk)
