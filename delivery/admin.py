from typing import ClassVar

from django.contrib import admin

from catbird_mls.staff import ReadOnlyAdmin, age_filter, ago, ended_filter, labelled, reference
from delivery.models import Dispatch, Envelope, Mailbox

CONVO = reference("convo_id", "conversation")
DEVICE = reference("device_id")


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

    list_display: ClassVar = ["seq", CONVO, ago("created_at", "age")]
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
    ]
    list_filter: ClassVar = [age_filter("created_at", "age", "age")]
    search_fields: ClassVar = ["convo_id", "did", "device_id"]
