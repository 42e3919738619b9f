from typing import ClassVar

from django.contrib import admin

from catbird_mls.staff import ReadOnlyAdmin
from delivery.models import Dispatch, Envelope, Mailbox


@admin.register(Mailbox)
class MailboxAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo_id", "did", "device_id", "first_seq", "last_seq", "acked_seq", "closed_at"]
    search_fields: ClassVar = ["convo_id", "did", "device_id"]


@admin.register(Dispatch)
class DispatchAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo_id", "seq", "created_at"]
    search_fields: ClassVar = ["convo_id"]


@admin.register(Envelope)
class EnvelopeAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo_id", "did", "device_id", "first_seq", "last_seq", "created_at"]
    search_fields: ClassVar = ["convo_id", "did", "device_id"]
