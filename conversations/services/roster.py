"""Who is in a convo: member rows and mailboxes change together, in the transaction that holds the convo."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils import timezone

from catbird_mls.compiled import compiled
from catbird_mls.rows import add_rows
from conversations.changes import changes_of
from conversations.models import Convo, Left, Member, Mode, ReadditionRequest
from conversations.selectors import active_members, open_members, places_of_accounts
from delivery.services import close_mailbox, nudge_devices, open_mailboxes
from keypackages.services import supersede_welcomes


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A device that gets a place; only the leaf of a tracked convo has an index."""

    did: str
    device_id: str
    leaf_index: int | None = None
    is_admin: bool = False


def open_places(convo: Convo, newcomers: Iterable[Newcomer]) -> None:
    """Places from the convo's last entry on: the devices read what comes after it.

    A device installed anew may have left a leaf behind that its new key cannot remove: that place is a leaver's.
    """
    arriving = {(newcomer.did, newcomer.device_id): newcomer for newcomer in newcomers}
    dids = sorted({did for did, _ in arriving})
    places: dict[str, list[Member]] = {did: [] for did in dids}
    for place in places_of_accounts(convo.pk, dids):
        places[place.did].append(place)
    rows = [_opened(convo, newcomer, places[newcomer.did]) for newcomer in arriving.values()]
    add_rows(rows)
    open_mailboxes(convo_id=convo.pk, devices=arriving, first_seq=convo.last_seq + 1)


def bring_in(convo: Convo, newcomers: Sequence[Newcomer]) -> None:
    """Places for those that others let in, whose devices may not be connected to hear of it."""
    open_places(convo, newcomers)
    nudge_devices((newcomer.did, newcomer.device_id) for newcomer in newcomers)


def _opened(convo: Convo, newcomer: Newcomer, places: list[Member]) -> Member:
    """The row of a newcomer, beside the places its account has."""
    changes_of(convo).comes(newcomer.did, was_member=bool(places))
    for place in places:
        if place.device_id == newcomer.device_id:
            end_place(convo, place)
    row = Member(
        convo=convo,
        did=newcomer.did,
        device_id=newcomer.device_id,
        leaf_index=newcomer.leaf_index,
        is_admin=newcomer.is_admin or any(place.is_admin for place in places),
        joined_seq=convo.last_seq,
        joined_epoch=convo.epoch,
    )
    places.append(row)
    return row


def answer_readditions(convo: Convo, devices: Iterable[tuple[str, str]]) -> None:
    """Devices that a commit has let in anew wait no longer."""
    here = set(devices)
    accounts = {did for did, _ in here}
    answered = [
        request.pk
        for request in readditions_of(convo.pk, sorted(accounts))
        if (request.did, request.device_id) in here or not request.device_id
    ]
    if answered:
        ReadditionRequest.objects.filter(pk__in=answered).update(answered_at=timezone.now())


@compiled
def readditions_of(convo_id: str, dids: Sequence[str]) -> QuerySet[ReadditionRequest]:
    return ReadditionRequest.objects.filter(convo_id=convo_id, did__any=dids, answered_at__isnull=True)


def waits_for_readding(convo: Convo, member: Member) -> bool:
    return ReadditionRequest.objects.filter(
        convo=convo, did=member.did, device_id__in=[member.device_id, ""], answered_at__isnull=True
    ).exists()


def close_place(convo: Convo, member: Member, *, how: Left) -> None:
    """The place ends with the convo's last entry, which the device may still read."""
    # Whoever is leaving has lost its access before, and that was told then.
    if member.leaving_at is None:
        changes_of(convo).goes(member.did, how)
    member.left_seq, member.left_epoch = convo.last_seq, convo.epoch
    member.left_at, member.left_how = timezone.now(), how
    member.save(update_fields=["left_seq", "left_epoch", "left_at", "left_how"])
    _shut(convo, member)


def begin_leaving(convo: Convo, member: Member, *, how: Left = Left.LEFT) -> None:
    """Access ends; the leaf stays in the tree until a member commits its removal."""
    if member.leaving_at is None:
        changes_of(convo).goes(member.did, how)
    member.leaving_at, member.left_how = member.leaving_at or timezone.now(), how
    member.save(update_fields=["leaving_at", "left_how"])
    _shut(convo, member)


def end_place(convo: Convo, member: Member, *, how: Left = Left.LEFT) -> None:
    """The member goes: at once where there is no leaf to wait for, else when somebody commits its removal."""
    if convo.mode == Mode.TRACKED:
        begin_leaving(convo, member, how=how)
    else:
        close_place(convo, member, how=how)


def put_out(convo: Convo, did: str) -> list[Member]:
    """Every place of an account ends, whether it is leaving already or not; says which."""
    members = list(open_members(convo.pk).filter(did=did))
    for member in members:
        end_place(convo, member, how=Left.REMOVED)
    return members


def settle_roles(convo: Convo) -> None:
    """A convo that nobody is in is closed; one without an admin gets the account that has been in it longest."""
    places = list(active_members(convo.pk).order_by("joined_seq", "pk"))
    if not places:
        convo.closed_at = timezone.now()
        convo.save(update_fields=["closed_at"])
    elif not any(place.is_admin for place in places):
        promoted = active_members(convo.pk).filter(did=places[0].did)
        promoted.update(is_admin=True, promoted_at=timezone.now())


def rows_by_leaf(convo: Convo, leaves: Iterable[int]) -> dict[int, Member]:
    """Who stands at these leaves of a tracked convo's ratchet tree."""
    rows = _members_at(convo.pk, list(leaves))
    return {row.leaf_index: row for row in rows if row.leaf_index is not None}


@compiled
def _members_at(convo_id: str, leaves: Sequence[int]) -> QuerySet[Member]:
    return open_members(convo_id).filter(leaf_index__any=leaves)


def admits_device(rows: Sequence[Member], did: str, device_id: str) -> bool:
    return any(row.did == did and row.device_id in {device_id, ""} for row in rows)


def _shut(convo: Convo, member: Member) -> None:
    close_mailbox(convo_id=convo.pk, did=member.did, device_id=member.device_id, last_seq=convo.last_seq)
    supersede_welcomes(convo_id=convo.pk, did=member.did, device_id=member.device_id, reason="no longer a member")
