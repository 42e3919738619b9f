from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget

from catbird_mls.staff import (
    ReadOnlyAdmin,
    account,
    ago,
    ended_filter,
    labelled,
    list_link,
    moment,
    named_filter,
    reference,
    shortened,
)
from conversations.models import AdditionClaim, GroupInfoRequest, ReadditionRequest, RejoinAttempt, Rollout
from conversations.rejoining import EXTERNAL_COMMITS

CONVO = reference("convo_id", "conversation")
DEVICE = reference("device_id")


@admin.register(GroupInfoRequest)
class GroupInfoRequestAdmin(ReadOnlyAdmin):
    """Conversations that no lost device could come back into, the longest so first."""

    list_display: ClassVar = [
        "cause",
        CONVO,
        ago("since"),
        "asked",
        account("last_asked", "last asked"),
        ago("next_at", "next"),
    ]
    ordering: ClassVar = ["since"]
    search_fields: ClassVar = ["convo__id"]


@admin.register(AdditionClaim)
class AdditionClaimAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["claimed_by", DEVICE, CONVO, ago("claimed_at"), ago("completed_at")]
    search_fields: ClassVar = ["convo__id", "device_id", "claimed_by"]


@admin.register(ReadditionRequest)
class ReadditionRequestAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [labelled("did", "account"), DEVICE, CONVO, ago("requested_at"), ago("answered_at")]
    list_filter: ClassVar = [ended_filter("answered_at", "request", ended="answered")]
    search_fields: ClassVar = ["convo__id", "did", "device_id"]


@admin.register(RejoinAttempt)
class RejoinAttemptAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["outcome", "way", account(), "where", "epoch", "size", ago("made_at")]
    list_filter: ClassVar = [
        named_filter(
            "outcome",
            "came",
            {"accepted": lambda: Q(outcome="accepted"), "refused": lambda: ~Q(outcome__in=["accepted", "asked"])},
        ),
        named_filter(
            "way", "way", {name: partial(Q, way=name) for name in (RejoinAttempt.EXTERNAL, RejoinAttempt.REQUEST)}
        ),
    ]
    search_fields: ClassVar = ["convo_id", "did", "device_id"]
    fields: ClassVar = ["outcome", "way", "did", "device_id", "where", "epoch", "size", moment("made_at")]

    @admin.display(description="conversation", ordering="convo_id")
    def where(self, attempt: RejoinAttempt) -> SafeString:
        """Not straight to the convo: somebody may have asked for one that never was."""
        return list_link("conversations_convo", shortened(attempt.convo_id), id__exact=attempt.convo_id)


@admin.register(Rollout)
class RolloutAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """The one thing here that staff decide: it holds at the next use, and Django notes who changed it."""

    list_display: ClassVar = ["name", "percent"]

    def get_readonly_fields(self, request: HttpRequest, obj: Rollout | None = None) -> list[str]:
        return ["name"] if obj else []

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "name":
            return forms.ChoiceField(choices=[(EXTERNAL_COMMITS, EXTERNAL_COMMITS)], widget=UnfoldAdminSelectWidget)
        limits = {"max_value": 100} if db_field.name == "percent" else {}
        return super().formfield_for_dbfield(db_field, request, **kwargs, **limits)
