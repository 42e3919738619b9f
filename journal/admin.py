from functools import partial
from typing import ClassVar

from django.contrib import admin
from django.db.models import Q
from django.utils.safestring import SafeString

from catbird_mls.staff import ReadOnlyAdmin, account, age_filter, ago, list_link, moment, named_filter, shortened
from journal.models import Refusal

THINGS = ("commit", "external commit", "proposal", "GroupInfo", "Welcome", "key package")


@admin.register(Refusal)
class RefusalAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["code", "thing", account(), "where", "epoch", "size", ago("made_at")]
    list_filter: ClassVar = [
        named_filter("thing", "thing", {name: partial(Q, thing=name) for name in THINGS}),
        age_filter("made_at", "age", "age"),
    ]
    search_fields: ClassVar = ["convo_id", "did", "device_id", "code"]
    fields: ClassVar = [
        "code",
        "message",
        "thing",
        "nsid",
        "did",
        "device_id",
        "where",
        "epoch",
        "size",
        "sha256",
        moment("made_at"),
    ]

    @admin.display(description="conversation", ordering="convo_id")
    def where(self, refusal: Refusal) -> SafeString | None:
        """Not straight to the convo: somebody may have meant one that never was."""
        if not refusal.convo_id:
            return None
        return list_link("conversations_convo", shortened(refusal.convo_id), id__exact=refusal.convo_id)
