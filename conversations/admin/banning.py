"""Accounts that staff keep out of a conversation, and let in again: noted, and harmless when pressed twice."""

from typing import ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from catbird_mls.staff import ReadOnlyAdmin, account, ago, ended_filter, labelled, reference
from conversations.models import Ban, Member
from conversations.services.banning import ban_account, lift_ban

CHOSEN_MAX = 200
BAN = "Ban the account from its conversation"
LIFT = "Lift the ban"


class BanningAdmin(ReadOnlyAdmin):
    """Rows stay read-only: the actions go through services, and only for staff who may change bans."""

    actions: ClassVar = ["ban"]

    def has_ban_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.has_perm("conversations.change_ban"))

    @admin.action(description=BAN, permissions=["ban"])
    def ban(self, request: HttpRequest, queryset: QuerySet[Member]) -> None:
        """Its access ends at once; whoever has left already cannot come back."""
        chosen = dict.fromkeys(queryset.values_list("convo_id", "did")[:CHOSEN_MAX])
        for convo_id, did in chosen:
            ban_account(convo_id=convo_id, did=did, by=_who(request))
            self.log_change(request, queryset.filter(convo_id=convo_id, did=did)[0], "Banned the account.")
        self.message_user(request, f"Banned {len(chosen)}.", messages.SUCCESS)


@admin.register(Ban)
class BanAdmin(BanningAdmin):
    list_display: ClassVar = [
        labelled("did", "account"),
        reference("convo_id", "conversation"),
        account("banned_by", "by"),
        "reason",
        ago("banned_at"),
        ago("lifted_at"),
    ]
    list_filter: ClassVar = [ended_filter("lifted_at", "ban", ended="lifted")]
    search_fields: ClassVar = ["convo__id", "did"]
    actions: ClassVar = ["lift"]

    @admin.action(description=LIFT, permissions=["ban"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Ban]) -> None:
        """Members may add the account again; it does not come back by itself."""
        lifted = 0
        for ban in queryset[:CHOSEN_MAX]:
            if lift_ban(convo_id=ban.convo_id, did=ban.did, by=_who(request)):
                lifted += 1
                self.log_change(request, ban, "Lifted.")
        self.message_user(request, f"Lifted {lifted}.", messages.SUCCESS)


def _who(request: HttpRequest) -> str:
    return f"staff {request.user.get_username()}"
