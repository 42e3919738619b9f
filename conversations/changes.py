"""What one transaction does to a roster, told to the members in one go once it has ended well."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import QuerySet

from catbird_mls.compiled import compiled
from conversations.hints import Action, membership_hint
from conversations.models import Convo, Left, Member
from delivery.services import carry_hint

ACTIONS: dict[Left, Action] = {Left.LEFT: "left", Left.REMOVED: "removed"}


@dataclass(slots=True)
class Changes:
    """The accounts that came or went: how each that goes goes, and which were members before."""

    convo: Convo
    epoch: int
    actor: str | None
    members_before: dict[str, bool] = field(default_factory=dict)
    ways_out: dict[str, Action] = field(default_factory=dict)

    def comes(self, did: str, *, was_member: bool) -> None:
        self.members_before.setdefault(did, was_member)

    def goes(self, did: str, how: Left) -> None:
        self.members_before.setdefault(did, True)
        self.ways_out[did] = ACTIONS[how]

    def tell(self) -> None:
        """An account that is let in again by the commit that puts it out has not changed at all."""
        convo_id = self.convo.pk
        # Who only came is here; of an account that went, another device may be.
        now = set(_here(convo_id, list(self.members_before)) if self.ways_out else self.members_before)
        for did, before in self.members_before.items():
            if before != (did in now):
                action = "joined" if did in now else self.ways_out[did]
                actor = self.actor if action != "left" else did
                carry_hint(membership_hint(convo_id=convo_id, did=did, action=action, actor=actor, epoch=self.epoch))


def changes_of(convo: Convo) -> Changes:
    """Those of the transaction under way, which holds the convo."""
    held: Changes | None = vars(convo).get("roster_changes")
    if held is None:
        held = Changes(convo, convo.epoch, convo.author)
        vars(convo)["roster_changes"] = held
        transaction.on_commit(held.tell, robust=True)
    return held


@compiled
def _here(convo_id: str, dids: Sequence[str]) -> QuerySet[Member, str]:
    here = Member.objects.filter(convo_id=convo_id, left_at__isnull=True, leaving_at__isnull=True)
    return here.filter(did__any=dids).values_list("did", flat=True)
