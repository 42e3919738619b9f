"""Staff look here; nothing of the log can be changed, and no ciphertext, key or token is shown."""

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
    joined,
    labelled,
    list_link,
    moment,
    named_filter,
    reference,
    shortened,
)
from conversations.models import (
    AdditionClaim,
    Answer,
    Convo,
    GroupState,
    Member,
    Message,
    Mode,
    Proposal,
    ReadditionRequest,
    RejoinAttempt,
    Rollout,
)
from conversations.rejoining import EXTERNAL_COMMITS
from conversations.selectors import active_members

CONVO = reference("convo_id", "conversation")
DEVICE = reference("device_id")


@admin.register(Convo)
class ConvoAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        "id",
        "mode",
        "epoch",
        "last_seq",
        account("creator_did", "creator"),
        ago("created_at"),
        ago("last_message_at"),
        ago("closed_at"),
    ]
    list_filter: ClassVar = ["mode", ended_filter("closed_at", "convo", ended="closed")]
    search_fields: ClassVar = ["id", "creator_did"]

    def get_fields(self, request: HttpRequest, obj: Convo | None = None) -> list[object]:
        return [*super().get_fields(request, obj), "related"]

    @admin.display(description="See also")
    def related(self, convo: Convo) -> SafeString:
        key = {"convo_id__exact": convo.pk}
        inside = {"convo__id__exact": convo.pk}
        links = [
            list_link("conversations_member", f"members ({active_members(convo.pk).count()})", **inside),
            list_link("conversations_message", f"log ({convo.last_seq})", **inside),
            list_link("conversations_readditionrequest", "re-adding requests", **inside),
            list_link("conversations_rejoinattempt", "attempts to come back", **key),
            list_link("keypackages_welcome", "Welcomes", **key),
            list_link("delivery_mailbox", "mailboxes", **key),
            list_link("delivery_envelope", "envelopes", **key),
            list_link("delivery_dispatch", "dispatches", **key),
        ]
        if convo.mode == Mode.TRACKED:
            links.insert(1, list_link("conversations_groupstate", "group state", **inside))
        return joined(links)


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        labelled("did", "account"),
        DEVICE,
        CONVO,
        "leaf_index",
        "role",
        ago("joined_at"),
        ago("leaving_at"),
        ago("left_at"),
        "left_how",
    ]
    list_filter: ClassVar = [
        named_filter(
            "place",
            "place",
            {
                "active": lambda: Q(left_at__isnull=True, leaving_at__isnull=True),
                "leaving": lambda: Q(left_at__isnull=True, leaving_at__isnull=False),
                "left": lambda: Q(left_at__isnull=False),
            },
        ),
        "is_admin",
    ]
    search_fields: ClassVar = ["did", "device_id", "convo__id"]

    @admin.display(description="role", ordering="-is_admin")
    def role(self, member: Member) -> str | None:
        return "admin" if member.is_admin else "moderator" if member.is_moderator else None


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["seq", CONVO, "kind", "epoch", "size", ago("received_at")]
    list_filter: ClassVar = ["kind"]
    search_fields: ClassVar = ["convo__id"]


@admin.register(GroupState)
class GroupStateAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["epoch", CONVO, ago("updated_at")]
    search_fields: ClassVar = ["convo__id"]


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["seq", CONVO, "epoch", "removes_leaf"]
    search_fields: ClassVar = ["convo__id"]


@admin.register(Answer)
class AnswerAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["nsid", CONVO, account(), ago("created_at")]
    search_fields: ClassVar = ["convo__id", "did"]
    concealed: ClassVar = ["answer", "key"]


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
