from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from catbird_mls.staff import (
    ReadOnlyAdmin,
    account,
    age_filter,
    ago,
    badge,
    ended_filter,
    labelled,
    list_link,
    named_filter,
    reference,
)
from delivery.models import Dispatch, Envelope, Mailbox, Nudge, PushToken

CONVO = reference("convo_id", "conversation")
DEVICE = reference("device_id")

STATES: dict[str, Callable[[], Q]] = {
    "due": partial(Q, due_at__isnull=False),
    "failing": lambda: Q(due_at__isnull=False) & ~Q(cause=""),
    "sent": partial(Q, due_at__isnull=True, given_up_at__isnull=True),
    "given up": partial(Q, due_at__isnull=True, given_up_at__isnull=False),
}


@admin.register(Mailbox)
class MailboxAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        labelled("did", "account"),
        DEVICE,
        CONVO,
        "first_seq",
        "last_seq",
        "acked_seq",
        ago("opened_at"),
        ago("closed_at"),
    ]
    list_filter: ClassVar = [ended_filter("closed_at", "mailbox", ended="closed")]
    search_fields: ClassVar = ["convo_id", "did", "device_id"]


@admin.register(Dispatch)
class DispatchAdmin(ReadOnlyAdmin):
    """Entries that no worker has carried yet: oldest first, because none of them should grow old."""

    list_display: ClassVar = ["seq", CONVO, ago("created_at", "age"), "fault", ago("held_until", "next try")]
    list_filter: ClassVar = [age_filter("created_at", "age", "age")]
    ordering: ClassVar = ["pk"]
    search_fields: ClassVar = ["convo_id"]


@admin.register(Envelope)
class EnvelopeAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        labelled("did", "account"),
        DEVICE,
        CONVO,
        "first_seq",
        "last_seq",
        ago("created_at", "age"),
        ago("extended_at", "newest entry"),
    ]
    list_filter: ClassVar = [age_filter("created_at", "age", "age")]
    search_fields: ClassVar = ["convo_id", "did", "device_id"]


@admin.register(PushToken)
class PushTokenAdmin(ReadOnlyAdmin):
    """Tokens are secrets: two people who speak of one compare fingerprints."""

    list_display: ClassVar = [
        "fingerprint",
        "platform",
        account(),
        DEVICE,
        ago("registered_at"),
        ago("pushed_at", "last push"),
        "outcome",
    ]
    list_filter: ClassVar = ["platform", age_filter("pushed_at", "last push", "pushed")]
    search_fields: ClassVar = ["did", "device_id", "fingerprint"]


@admin.register(Nudge)
class NudgeAdmin(ReadOnlyAdmin):
    """Those that fail and why; a device that was pushed to stays here until it is heard of."""

    list_display: ClassVar = [
        account(),
        DEVICE,
        "state",
        ago("created_at", "since"),
        ago("due_at", "next attempt"),
        "attempts",
        "cause",
        ago("sent_at"),
    ]
    list_filter: ClassVar = [named_filter("state", "state", STATES), age_filter("created_at", "age", "age")]
    search_fields: ClassVar = ["did", "device_id", "cause"]

    @admin.display(description="state")
    def state(self, nudge: Any) -> SafeString:
        if nudge.due_at is not None:
            return badge("failing", "warning") if nudge.cause else badge("due")
        return badge("given up", "danger") if nudge.given_up_at else badge("sent", "success")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [*super().get_fields(request, obj), "tokens"]

    @admin.display(description="tokens")
    def tokens(self, nudge: Nudge) -> SafeString:
        return list_link("delivery_pushtoken", "of this device", device_id__exact=nudge.device_id)
