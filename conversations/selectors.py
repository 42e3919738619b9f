from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Min, Q, QuerySet

from catbird_mls.compiled import compiled
from catbird_mls.xrpc.errors import NotMember
from conversations.additions import Addition, pending_additions
from conversations.errors import ConvoNotFound, EpochMismatch, NotAdmin
from conversations.hints import open_hints
from conversations.models import Convo, Member, Message, ReadditionRequest
from conversations.shapes import message_view, page_of
from delivery.desk import Entry
from delivery.hub import Hint
from keypackages.selectors import device_handle, require_device


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks: an account, narrowed to one of its devices where the request names one."""

    did: str
    device_id: str | None = None


def asking(*, did: str, device: str | None) -> Asking:
    """The caller, with its device when it names one; a device it does not have belongs to no convo."""
    if not device:
        return Asking(did)
    device_id = device_handle(did=did, handle=device)
    if device_id is None:
        raise NotMember
    return Asking(did, device_id)


def founder(*, did: str, device: str | None) -> Asking:
    """Who creates a convo: there is none yet that an unknown device could be a stranger to."""
    return Asking(did, require_device(did=did, handle=device).pk if device else None)


def open_members(convo_id: str) -> QuerySet[Member]:
    """The roster: in a tracked convo the leaves of the tree, leavers included."""
    return Member.objects.filter(convo_id=convo_id, left_at__isnull=True)


def active_members(convo_id: str) -> QuerySet[Member]:
    """Those of the roster that may read and write."""
    return open_members(convo_id).filter(leaving_at__isnull=True)


def convos_of_account(did: str) -> list[str]:
    """The convos an account may read and write in."""
    mine = Member.objects.filter(did=did, left_at__isnull=True, leaving_at__isnull=True)
    return sorted(set(mine.values_list("convo_id", flat=True)))


def places_of(convo_id: str, who: Asking) -> list[Member]:
    mine = places_of_accounts(convo_id, [who.did])
    return mine if who.device_id is None else [place for place in mine if place.device_id in {who.device_id, ""}]


@compiled
def places_of_accounts(convo_id: str, dids: Sequence[str]) -> QuerySet[Member]:
    return active_members(convo_id).filter(did__any=dids).order_by("pk")


def require_member(convo_id: str, who: Asking) -> list[Member]:
    """The caller's places in the convo; whoever has none learns nothing, not even that it exists."""
    places = places_of(convo_id, who)
    if places:
        return places
    closed = Convo.objects.filter(pk=convo_id, closed_at__isnull=False, members__did=who.did)
    if closed.exists():
        raise ConvoNotFound("The conversation has ended.")
    raise NotMember


def require_admin(places: Sequence[Member]) -> None:
    if not any(place.is_admin for place in places):
        raise NotAdmin("Only an admin of the conversation may do this.")


def require_recent_epoch(convo: Convo, epoch: int) -> None:
    """A message of the current epoch or one shortly before it; receivers keep the keys of a few past epochs."""
    if not convo.epoch - settings.CATBIRD_EPOCH_WINDOW <= epoch <= convo.epoch:
        raise EpochMismatch(
            f"The message is of epoch {epoch}, the conversation is at {convo.epoch}.", current_epoch=convo.epoch
        )


def current_epoch(*, convo_id: str, who: Asking) -> int:
    require_member(convo_id, who)
    return Convo.objects.values_list("epoch", flat=True).get(pk=convo_id)


@dataclass(frozen=True, slots=True)
class Expected:
    """A convo of the account, and whether the device that asks is in it."""

    convo: Convo
    members: int
    device_in_group: bool
    needs_rejoin: bool


def expected_convos(who: Asking) -> list[Expected]:
    """Every convo the device should be in: for a client that has lost its state. Four queries however many."""
    convos = list(Convo.objects.filter(pk__in=convos_of_account(who.did)).order_by("created_at", "pk"))
    places = list(Member.objects.filter(convo__in=convos, left_at__isnull=True, leaving_at__isnull=True))
    asked = ReadditionRequest.objects.filter(convo__in=convos, did=who.did, answered_at__isnull=True)
    waiting = set(asked.values_list("convo_id", flat=True))
    return [_expected(convo, who, [one for one in places if one.convo_id == convo.pk], waiting) for convo in convos]


def _expected(convo: Convo, who: Asking, places: Sequence[Member], waiting: set[str]) -> Expected:
    mine = [place for place in places if place.did == who.did and place.device_id in {who.device_id, ""}]
    inside = bool(mine) if who.device_id is not None else True
    members = len({place.did for place in places})
    return Expected(convo, members, device_in_group=inside, needs_rejoin=not inside or convo.pk in waiting)


def additions_for(*, did: str, convo_ids: Sequence[str] | None, limit: int) -> list[Addition]:
    """Devices that wait in the caller's convos; those of its own account come in by themselves."""
    mine = convos_of_account(did)
    asked = mine if convo_ids is None else [convo_id for convo_id in mine if convo_id in set(convo_ids)]
    return [one for one in pending_additions(asked) if one.device.did != did][:limit]


class ConvoLog:
    """The log as delivery reads it for its streams."""

    def entries(self, *, convo_id: str, after: int, until: int, limit: int, most: int) -> list[Entry]:
        found = Message.objects.filter(convo_id=convo_id, seq__gt=after, seq__lte=until).order_by("seq")
        messages, _ = page_of(found, limit, most)
        return [Entry(convo_id, message.seq, message.size, message_view(message, convo_id)) for message in messages]

    def kept(self, places: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        wanted = Q(pk__in=[])
        for convo_id, seq in places:
            wanted |= Q(convo_id=convo_id, seq=seq)
        return set(Message.objects.filter(wanted).values_list("convo_id", "seq"))

    def open_hints(self, convo_ids: Sequence[str]) -> list[Hint]:
        return open_hints(convo_ids)

    def last_seqs(self, convo_ids: Sequence[str]) -> dict[str, int]:
        return dict(Convo.objects.filter(pk__in=convo_ids).values_list("pk", "last_seq"))

    def seqs_before(self, convo_ids: Sequence[str], *, transaction: int) -> dict[str, int]:
        """For each convo the seq before its first entry that a later transaction wrote."""
        last = self.last_seqs(convo_ids)
        later = Message.objects.filter(convo_id__in=convo_ids, transaction__gt=transaction).order_by()
        first = later.values_list("convo_id").annotate(first=Min("seq"))
        return last | {convo_id: seq - 1 for convo_id, seq in first}
