"""Proposals are entries of the current epoch, dropped when it ends; the server makes some of its own.

A leaf has to go when its member has left, was removed or banned, or its device was deleted. Where the group lists
the server as an external sender, the server proposes the removal itself in every epoch until somebody commits it.
"""

from collections.abc import Sequence

from django.conf import settings
from django.db.models import QuerySet

from catbird_mls.compiled import compiled
from conversations import framing
from conversations.conflicts import bodies_of, pending_proposals
from conversations.errors import InvalidCommit, InvalidMessage
from conversations.framing import ProposalInfo, PublicGroup, StoredGroup, verify_proposal
from conversations.models import Convo, GroupState, Kind, Member, Message, Proposal
from conversations.selectors import open_members, require_admin
from conversations.services.log import append_entry, handshake_id
from keypackages.selectors import devices_of_keys

SERVER_REMOVALS_MAX = 100


def state_of(convo: Convo) -> GroupState | None:
    """The public state that is kept of a convo: of a tracked one always, and always of its epoch."""
    return next(iter(states_of(convo.pk)), None)


@compiled
def states_of(convo_id: str) -> QuerySet[GroupState]:
    return GroupState.objects.filter(convo_id=convo_id)


def tracked_state(convo: Convo) -> GroupState:
    state = state_of(convo)
    assert state is not None, "a tracked convo has a public state"
    return state


def stored_group(convo: Convo, state: GroupState, proposals: Sequence[Proposal] | None = None) -> StoredGroup:
    """The group with the proposals of its epoch, which the caller may have at hand."""
    assert state.epoch == convo.epoch, "the public state is of the convo's epoch"
    return StoredGroup(
        ratchet_tree=bytes(state.ratchet_tree),
        group_context=bytes(state.group_context),
        confirmation_tag=bytes(state.confirmation_tag),
        proposals=tuple(bodies_of(pending_proposals(convo) if proposals is None else proposals)),
    )


def read_proposal(convo: Convo, body: bytes) -> ProposalInfo:
    """A proposal of the current epoch, verified against the public group."""
    return verify_proposal(stored_group(convo, tracked_state(convo)), body, epoch=convo.epoch)


def append_proposal(
    convo: Convo, body: bytes, info: ProposalInfo, *, sender_did: str, msg_id: str = "", required: bool = False
) -> Message:
    """A verified proposal as an entry of the current epoch."""
    message = append_entry(
        convo,
        kind=Kind.PROPOSAL,
        epoch=convo.epoch,
        msg_id=msg_id or handshake_id(body),
        body=body,
        sender_did=sender_did,
    )
    Proposal.objects.create(
        convo=convo,
        seq=message.seq,
        epoch=convo.epoch,
        reference=info.reference,
        removes_leaf=info.removed,
        required=required,
    )
    return message


def append_members_proposal(convo: Convo, places: Sequence[Member], *, msg_id: str, body: bytes) -> Message:
    """What a member proposes by itself: nothing that others could not commit, and no removal without the role."""
    try:
        info = read_proposal(convo, body)
        _require_own_leaf(info, places)
        _require_committable(info, places)
    except InvalidCommit as refusal:
        raise InvalidMessage(refusal.message) from None
    return append_proposal(convo, body, info, sender_did=places[0].did, msg_id=msg_id)


def propose_removals(convo: Convo, group: PublicGroup | None = None) -> bool:
    """The server's own proposal for every leaf that has to go and that nothing yet removes in this epoch.

    False where the group does not list the server: then its members have to see to it. ``group`` is the public
    group of the convo's epoch when the caller has it at hand.
    """
    leaves = _leaves_to_remove(convo)
    if not leaves:
        return True
    if group is None:
        group = stored_group(convo, tracked_state(convo)).rebuild()
    made = framing.propose_removals(group, leaves)
    for body, info in made or []:
        append_proposal(convo, body, info, sender_did=settings.SERVICE_DID, required=True)
    return made is not None


def required_removals(pending: Sequence[Proposal]) -> list[int]:
    """Leaves that no commit of this epoch may leave in the tree, in the order they were proposed."""
    return [one.removes_leaf for one in pending if one.required and one.removes_leaf is not None]


def proposed_removals(pending: Sequence[Proposal]) -> set[int]:
    """Leaves whose removal somebody proposed who was allowed to."""
    return {one.removes_leaf for one in pending if one.removes_leaf is not None}


def _leaves_to_remove(convo: Convo) -> list[int]:
    leaves = leaving_leaves(convo.pk)
    proposed = required_removals(pending_proposals(convo)) if leaves else []
    return [leaf for leaf in leaves if leaf is not None and leaf not in proposed][:SERVER_REMOVALS_MAX]


@compiled
def leaving_leaves(convo_id: str) -> QuerySet[Member, int | None]:
    leaving = open_members(convo_id).filter(leaving_at__isnull=False, leaf_index__isnull=False).order_by("leaving_at")
    return leaving.values_list("leaf_index", flat=True)


def _require_own_leaf(info: ProposalInfo, places: Sequence[Member]) -> None:
    if info.sender_index not in {place.leaf_index for place in places}:
        raise InvalidCommit("proposal.not_your_leaf: the proposal was made by another member.")


def _require_committable(info: ProposalInfo, places: Sequence[Member]) -> None:
    """Members commit every pending proposal, so one that would make their commits fail is not taken."""
    if info.kind == "self_remove":
        raise InvalidCommit("proposal.is_a_leave: leave the conversation with leaveConvo.")
    if info.kind == "group_context_extensions":
        raise InvalidCommit("proposal.extensions_by_commit: an admin changes the group's extensions by a commit.")
    if info.removed is not None and info.removed not in {place.leaf_index for place in places}:
        require_admin(places)
    if info.new_signature_key is not None:
        device = devices_of_keys([info.new_signature_key]).get((places[0].did, info.new_signature_key))
        mine = {place.device_id for place in places if place.leaf_index == info.sender_index}
        if device is None or device.device_id not in mine:
            raise InvalidCommit("proposal.unknown_signature_key: register the device's new signature key first.")
