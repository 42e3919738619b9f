"""What the pages of staff have in common: they show rows, link to one another, and never show or load bytes."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.paginator import Paginator
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timesince import timesince, timeuntil
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

COUNTED_ROWS_MAX = 10_000
KEY_SHOWN_LENGTH = 8
ACCOUNT_SHOWN_LENGTH = 16
EMPTY = "-"

Column = Callable[[Any], Any]

# Columns that name a row of another table, whichever app keeps it, by the page of that table.
PAGES = {
    "convo_id": "conversations_convo",
    "spent_in_convo": "conversations_convo",
    "device_id": "keypackages_device",
    "spent_by_device": "keypackages_device",
    "committer_device_id": "keypackages_device",
}

NAVIGATION = {
    "When something is wrong": {
        "Welcomes": "keypackages_welcome",
        "Re-adding requests": "conversations_readditionrequest",
        "GroupInfo requests": "conversations_groupinforequest",
        "Refusals": "journal_refusal",
        "Dispatches": "delivery_dispatch",
        "Push nudges": "delivery_nudge",
    },
    "Directory": {
        "Devices": "keypackages_device",
        "Key packages": "keypackages_keypackage",
        "Daily counts": "keypackages_dailycount",
        "Opt-ins": "keypackages_optin",
        "Bodies of Welcomes": "keypackages_welcomebody",
    },
    "Conversations": {
        "Conversations": "conversations_convo",
        "Members": "conversations_member",
        "Messages": "conversations_message",
        "Epochs": "conversations_epoch",
        "Bans": "conversations_ban",
        "Group states": "conversations_groupstate",
        "Proposals": "conversations_proposal",
        "Answers": "conversations_answer",
        "Addition claims": "conversations_additionclaim",
        "Attempts to come back": "conversations_rejoinattempt",
    },
    "Delivery": {
        "Mailboxes": "delivery_mailbox",
        "Envelopes": "delivery_envelope",
        "Push tokens": "delivery_pushtoken",
    },
    "Staff": {
        "Users": "auth_user",
        "Groups": "auth_group",
        "Rollouts": "conversations_rollout",
        "Jobs of beat": "django_celery_beat_periodictask",
    },
}


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Shows rows and changes none; does not count them all, because logs are long."""

    # Left out of a row's page beside the bytes, which never are on it.
    concealed: ClassVar[list[str]] = []
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_disable_select_all = True
    empty_value_display = EMPTY

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer(*(field.name for field in self.opts.fields if _is_bytes(field)))

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet[Any], per_page: int, *rest: Any, **more: Any
    ) -> "Paginator[Any]":
        """Counts as far as a person would leaf; beyond that there is only a next page."""
        counted = queryset.values("pk")[: COUNTED_ROWS_MAX + 1].count()
        if counted > COUNTED_ROWS_MAX:
            endless: Paginator[Any] = InfinitePaginator(queryset, per_page, *rest, **more)
            return endless
        pages = Paginator(queryset, per_page, *rest, **more)
        pages.count = counted
        return pages

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Every column that may be shown, moments and references in a form people can use."""
        shown = [one for one in self.opts.fields if not _is_bytes(one) and one.name not in self.concealed]
        return list(self.fields or [_shown(one) for one in shown])


class NamedFilter(admin.SimpleListFilter):
    """Offers conditions by their names, which are also what the address bar shows."""

    conditions: ClassVar[Mapping[str, Callable[[], Q]]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, capfirst(name)) for name in self.conditions]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = self.conditions.get(self.value() or "")
        return queryset.filter(condition()) if condition else queryset


def named_filter(heading: str, parameter: str, choices: Mapping[str, Callable[[], Q]]) -> type[NamedFilter]:
    class Filter(NamedFilter):
        title = heading
        parameter_name = parameter
        conditions = choices

    return Filter


def ended_filter(field: str, parameter: str, *, ended: str, unended: str = "open") -> type[NamedFilter]:
    """Open rows, or those for which something has come to its end."""
    choices = {unended: partial(Q, **{f"{field}__isnull": True}), ended: partial(Q, **{f"{field}__isnull": False})}
    return named_filter("state", parameter, choices)


def age_filter(field: str, heading: str, parameter: str) -> type[NamedFilter]:
    def older(**ago: float) -> Callable[[], Q]:
        return lambda: Q(**{f"{field}__lt": timezone.now() - timedelta(**ago)})

    choices = {
        "more than an hour ago": older(hours=1),
        "more than a day ago": older(days=1),
        "more than a week ago": older(weeks=1),
        "more than 30 days ago": older(days=30),
    }
    return named_filter(heading, parameter, choices)


def ago(field: str, label: str = "") -> Column:
    """A list's column that says how long ago; the exact moment shows under the pointer."""
    return _column(field, label, lambda row: human(getattr(row, field)))


def moment(field: str, label: str = "") -> Column:
    """A line of a row's page that says when, and how long ago that is."""
    return _column(field, label, lambda row: exact(getattr(row, field)))


def reference(field: str, label: str = "", *, brief: bool = True) -> Column:
    """A link to the row that a column names, wherever that row is kept."""
    page = PAGES[field]
    return _column(field, label, lambda row: link(page, getattr(row, field), brief=brief))


def labelled(field: str, label: str) -> Column:
    return _column(field, label, lambda row: getattr(row, field))


def account(field: str = "did", label: str = "account") -> Column:
    """A list's column that says whose row it is; the whole DID shows under the pointer."""

    def value(row: Any) -> SafeString:
        did = getattr(row, field)
        return format_html('<span title="{}">{}</span>', did, shortened(did, ACCOUNT_SHOWN_LENGTH))

    return _column(field, label, value)


def human(when: datetime | None) -> SafeString | None:
    if when is None:
        return None
    form = '<time datetime="{}" title="{}" class="whitespace-nowrap">{}</time>'
    return format_html(form, when.isoformat(), _clock(when), _distance(when, units=1))


def exact(when: datetime | None) -> SafeString | None:
    if when is None:
        return None
    form = '<time datetime="{}">{} ({})</time>'
    return format_html(form, when.isoformat(), _clock(when), _distance(when))


def link(page: str, key: Any, text: str = "", *, brief: bool = True) -> SafeString | None:
    """To one row's page; without a text the key itself, cut short where it would fill a column."""
    if key in {None, ""}:
        return None
    address = reverse(f"admin:{page}_change", args=[quote(key)])
    return _anchor(address, text or (shortened(str(key)) if brief else str(key)), title=str(key))


def list_link(page: str, text: str, **conditions: Any) -> SafeString:
    """To the rows of a table for which these hold."""
    address = f"{reverse(f'admin:{page}_changelist')}?{urlencode(conditions)}"
    return _anchor(address, text, title="")


def joined(links: Iterable[SafeString | None]) -> SafeString:
    return format_html_join(" · ", "{}", ((one,) for one in links))


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The side bar: what staff may see, by what they look for."""
    return [
        {
            "title": title,
            "separator": True,
            "items": [_page(*one) for one in pages.items() if _may_see(request, one[1])],
        }
        for title, pages in NAVIGATION.items()
    ]


def badge(text: str, kind: str = "") -> SafeString:
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind})


def shortened(name: str, length: int = KEY_SHOWN_LENGTH) -> str:
    return name if len(name) <= length else f"{name[:length]}…"


def _page(title: str, page: str) -> dict[str, str]:
    return {"title": title, "link": reverse(f"admin:{page}_changelist")}


def _may_see(request: HttpRequest, page: str) -> bool:
    app, _, model = page.rpartition("_")
    return request.user.has_perm(f"{app}.view_{model}") or request.user.has_perm(f"{app}.change_{model}")


def _anchor(address: str, text: str, *, title: str) -> SafeString:
    return format_html('<a href="{}" title="{}" class="text-link">{}</a>', address, title, text)


def _clock(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _distance(when: datetime, units: int = 2) -> str:
    now = timezone.now()
    if abs(now - when) < timedelta(minutes=1):
        return "just now"
    return f"in {timeuntil(when, now, depth=units)}" if when > now else f"{timesince(when, now, depth=units)} ago"


def _column(field: str, label: str, value: Column) -> Column:
    @admin.display(description=label or field.removesuffix("_at").removesuffix("_id").replace("_", " "), ordering=field)
    def column(row: Any) -> Any:
        return value(row)

    column.__name__ = field
    return column


def _is_bytes(field: "models.Field[Any, Any]") -> bool:
    return isinstance(field, models.BinaryField)


def _shown(field: "models.Field[Any, Any]") -> str | Column:
    if field.name == "did":
        return labelled("did", "account")
    if isinstance(field, models.DateTimeField):
        return moment(field.name)
    return reference(field.attname, brief=False) if field.attname in PAGES else field.name
