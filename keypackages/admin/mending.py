"""What staff do for Welcomes that do not arrive: one at a time, noted one by one, harmless when done twice."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action

from catbird_mls.staff import ReadOnlyAdmin
from catbird_mls.xrpc.errors import XrpcError
from keypackages.models import OPEN_STATES, UNSETTLED_STATES, Welcome
from keypackages.services import StuckWelcome

MENDED_AT_ONCE_MAX = 200
RING_PAUSE = timedelta(minutes=1)
RING_AGAIN = "Ring again"
ASK_FOR_READDING = "Invalidate and ask for re-adding"

logger = logging.getLogger(__name__)


class Mending(Protocol):
    """What is done for Welcomes that do not arrive, by those who know convos and connections."""

    def ring_for_welcomes(self, welcomes: Sequence[StuckWelcome]) -> int: ...

    def ask_for_readding(self, welcomes: Sequence[StuckWelcome]) -> int: ...


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way of mending: for which Welcomes it is, and in which words it is told and noted."""

    fits: Callable[[Welcome], bool]
    apply: Callable[[Sequence[StuckWelcome]], int]
    done: str
    in_vain: str
    needless: str


@dataclass(slots=True)
class Tally:
    """How many of the chosen Welcomes it concerned, and in which convos it failed."""

    done: int = 0
    in_vain: int = 0
    needless: int = 0
    failed: list[str] = field(default_factory=list)


def dialog(title: str, description: str) -> dict[str, Any]:
    return {"title": title, "description": description, "form_class": None, "form_submit_text": title}


class MendingAdmin(ReadOnlyAdmin):
    """Welcomes stay read-only: the actions go through services, and only for staff who may change Welcomes."""

    mending: ClassVar[Mending]
    actions: ClassVar = ["ring_again", "ask_for_readding"]
    actions_detail: ClassVar = ["ring_for_one", "readd_one"]

    def has_mend_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.has_perm("keypackages.change_welcome"))

    @admin.action(description=RING_AGAIN, permissions=["mend"])
    def ring_again(self, request: HttpRequest, queryset: QuerySet[Welcome]) -> None:
        self._mend(request, self._chosen(request, queryset), self._bell())

    @admin.action(description=ASK_FOR_READDING, permissions=["mend"])
    def ask_for_readding(self, request: HttpRequest, queryset: QuerySet[Welcome]) -> None:
        self._mend(request, self._chosen(request, queryset), self._readding())

    @action(  # type: ignore[untyped-decorator]  # unfold ships no types
        description=RING_AGAIN,
        permissions=["mend"],
        url_path="ring",
        icon="notifications_active",
        dialog=dialog(RING_AGAIN, "Its device is woken if it is connected. Nothing else changes."),
    )
    def ring_for_one(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._mend_on_page(request, object_id, self._bell())

    @action(  # type: ignore[untyped-decorator]  # unfold ships no types
        description=ASK_FOR_READDING,
        permissions=["mend"],
        url_path="readd",
        icon="person_add",
        dialog=dialog(
            ASK_FOR_READDING,
            "This Welcome can no longer be used, and the members are asked to let the device in anew.",
        ),
    )
    def readd_one(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._mend_on_page(request, object_id, self._readding())

    def _bell(self) -> Remedy:
        return Remedy(
            fits=may_be_rung_for,
            apply=self.mending.ring_for_welcomes,
            done="Rang again for {}.",
            in_vain="Rang again for {}.",
            needless="Left {} alone: settled, past use, or rung for within the last minute.",
        )

    def _readding(self) -> Remedy:
        return Remedy(
            fits=lambda welcome: welcome.state in UNSETTLED_STATES,
            apply=self.mending.ask_for_readding,
            done="Invalidated {} and asked for re-adding.",
            in_vain="Invalidated {}; nobody was asked, because the device is no longer in the conversation.",
            needless="Left {} alone: already settled.",
        )

    def _chosen(self, request: HttpRequest, listed: QuerySet[Welcome]) -> list[Welcome]:
        """Those that were ticked, also where the list's filters no longer show them: they say what became of them."""
        if request.POST.get("select_across") != "1":
            listed = self.get_queryset(request).filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        return list(listed[: MENDED_AT_ONCE_MAX + 1])

    def _mend_on_page(self, request: HttpRequest, object_id: str, remedy: Remedy) -> HttpResponse:
        welcome = self.get_object(request, object_id)
        if welcome is None:
            raise Http404
        self._mend(request, [welcome], remedy)
        page = reverse("admin:keypackages_welcome_change", args=[welcome.pk])
        # The dialog is sent by htmx, which would put the page it is led to into the dialog.
        return HttpResponse(headers={"HX-Redirect": page}) if "HX-Request" in request.headers else redirect(page)

    def _mend(self, request: HttpRequest, welcomes: Sequence[Welcome], remedy: Remedy) -> None:
        if len(welcomes) > MENDED_AT_ONCE_MAX:
            self.message_user(request, f"Nothing done: choose at most {MENDED_AT_ONCE_MAX}.", messages.ERROR)
            return
        tally = Tally()
        for welcome in welcomes:
            self._mend_one(request, welcome, remedy, tally)
        self._tell(request, remedy, tally)

    def _mend_one(self, request: HttpRequest, welcome: Welcome, remedy: Remedy, tally: Tally) -> None:
        if not remedy.fits(welcome):
            tally.needless += 1
            return
        try:
            concerned = remedy.apply([StuckWelcome(welcome.pk, welcome.convo_id, welcome.did, welcome.device_id)])
        except (XrpcError, DatabaseError):
            logger.warning("mending failed welcome=%s convo=%s", welcome.pk, welcome.convo_id, exc_info=True)
            tally.failed.append(welcome.convo_id)
            return
        tally.done += bool(concerned)
        tally.in_vain += not concerned
        self.log_change(request, welcome, (remedy.done if concerned else remedy.in_vain).format("this Welcome"))

    def _tell(self, request: HttpRequest, remedy: Remedy, tally: Tally) -> None:
        told = [
            (tally.done, remedy.done, messages.SUCCESS),
            (tally.in_vain, remedy.in_vain, messages.WARNING),
            (tally.needless, remedy.needless, messages.WARNING),
            (len(tally.failed), "Failed for {} and changed nothing there; try again. Conversations: ", messages.ERROR),
        ]
        for number, text, level in told:
            if number:
                failed = ", ".join(tally.failed) if level == messages.ERROR else ""
                self.message_user(request, text.format(counted(number)) + failed, level)


def may_be_rung_for(welcome: Welcome) -> bool:
    rested = welcome.rung_at is None or welcome.rung_at < timezone.now() - RING_PAUSE
    return welcome.state in OPEN_STATES and rested


def counted(number: int) -> str:
    return "1 Welcome" if number == 1 else f"{number} Welcomes"
