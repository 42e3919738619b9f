from collections.abc import Sequence
from typing import ClassVar

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from catbird_mls.staff import (
    ReadOnlyAdmin,
    account,
    ago,
    ended_filter,
    joined,
    labelled,
    list_link,
    named_filter,
    reference,
)
from conversations.admin.banning import BanningAdmin
from conversations.models import Answer, Convo, Epoch, GroupState, Member, Message, Mode, Proposal
from conversations.selectors import active_members

ACCOUNTS_SHOWN = 3
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
            list_link("conversations_epoch", "epochs", **inside),
            list_link("conversations_ban", "bans", **inside),
            list_link("conversations_readditionrequest", "re-adding requests", **inside),
            list_link("conversations_rejoinattempt", "attempts to come back", **key),
            list_link("journal_refusal", "refusals", **key),
            list_link("keypackages_welcome", "Welcomes", **key),
            list_link("delivery_mailbox", "mailboxes", **key),
            list_link("delivery_envelope", "envelopes", **key),
            list_link("delivery_dispatch", "dispatches", **key),
        ]
        if convo.mode == Mode.TRACKED:
            links.insert(1, list_link("conversations_groupstate", "group state", **inside))
        return joined(links)


@admin.register(Member)
class MemberAdmin(BanningAdmin):
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
    list_display: ClassVar = ["epoch", CONVO, "fault", ago("checked_at"), ago("updated_at")]
    list_filter: ClassVar = [
        named_filter("joining", "joining", {"possible": lambda: Q(fault=""), "impossible": lambda: ~Q(fault="")})
    ]
    search_fields: ClassVar = ["convo__id"]


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["seq", CONVO, "epoch", "removes_leaf", "required"]
    search_fields: ClassVar = ["convo__id"]


@admin.register(Answer)
class AnswerAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["nsid", CONVO, account(), ago("created_at")]
    search_fields: ClassVar = ["convo__id", "did"]
    concealed: ClassVar = ["answer", "key"]


@admin.register(Epoch)
class EpochAdmin(ReadOnlyAdmin):
    """The ledger: who began each epoch, by which method, who came and who went."""

    list_display: ClassVar = [
        "epoch",
        CONVO,
        "method",
        account("committer_did", "committer"),
        reference("committer_device_id", "device"),
        "came",
        "went",
        "seq",
        ago("began_at"),
    ]
    search_fields: ClassVar = ["convo__id", "committer_did"]

    @admin.display(description="method", ordering="nsid")
    def method(self, epoch: Epoch) -> str:
        return epoch.nsid.rpartition(".")[2]

    @admin.display(description="came")
    def came(self, epoch: Epoch) -> str | None:
        return _accounts(epoch.added)

    @admin.display(description="went")
    def went(self, epoch: Epoch) -> str | None:
        return _accounts(epoch.removed)


def _accounts(devices: Sequence[Sequence[str]]) -> str | None:
    """The accounts of some devices, the first few by name."""
    accounts = list(dict.fromkeys(did for did, *_ in devices))
    more = len(accounts) - ACCOUNTS_SHOWN
    return ", ".join(accounts[:ACCOUNTS_SHOWN]) + (f" and {more} more" if more > 0 else "") or None
