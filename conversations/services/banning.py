"""Accounts that are kept out of a convo, whoever would let them in."""

from collections.abc import Collection

from django.utils import timezone

from conversations.errors import InvalidCommit
from conversations.locks import locked_convo
from conversations.models import Ban, Convo, Mode
from conversations.rejoining import bans_of
from conversations.services.proposals import propose_removals
from conversations.services.roster import put_out, settle_roles


def ban_account(*, convo_id: str, did: str, by: str, reason: str = "") -> None:
    """Put an account out of a convo for good. Its access ends at once; twice changes nothing.

    In a tracked convo its leaves go with the next commit where the group lists the server, else when a member
    commits their removal.
    """
    with locked_convo(convo_id) as convo:
        put_out(convo, did)
        if convo.mode == Mode.TRACKED:
            propose_removals(convo)
        keep_ban(convo, did, by=by, reason=reason)
        if convo.closed_at is None:
            settle_roles(convo)


def lift_ban(*, convo_id: str, did: str, by: str) -> bool:
    """Members may let the account in again; it does not come back by itself. Says whether there was a ban."""
    with locked_convo(convo_id) as convo:
        lifted = Ban.objects.filter(convo=convo, did=did, lifted_at__isnull=True)
        return lifted.update(lifted_at=timezone.now(), lifted_by=by) > 0


def keep_ban(convo: Convo, did: str, *, by: str, reason: str) -> None:
    """Inside the transaction that puts the account out."""
    Ban.objects.get_or_create(convo=convo, did=did, lifted_at=None, defaults={"banned_by": by, "reason": reason})


def require_none_banned(convo: Convo, dids: Collection[str]) -> None:
    for banned in bans_of(convo.pk, sorted(dids)) if dids else []:
        raise InvalidCommit(f"commit.adds_banned: {banned} is banned from this conversation.")
