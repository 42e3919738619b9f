from collections.abc import Sequence
from typing import Any

from catbird_mls.xrpc.errors import Forbidden
from conversations.errors import InvalidCommit
from conversations.framing import ProposalInfo, require_framed_proposal
from conversations.locks import locked_convo
from conversations.models import Convo, Kind, Left, Member, Mode
from conversations.selectors import Asking, places_of, require_member
from conversations.services.log import LEAVE_CONVO, append_entry, handshake_id
from conversations.services.proposals import append_proposal, propose_removals, read_proposal
from conversations.services.refusals import journaled
from conversations.services.roster import begin_leaving, close_place, settle_roles


def leave_convo(*, convo_id: str, who: Asking, target_did: str | None, proposal: bytes | None) -> dict[str, Any]:
    """End the caller's membership at once, of one device or of the whole account.

    In a tracked convo the leaf stays in the tree until a member commits its removal, which the proposal asks
    for, or else the server where the group lists it. Leaving twice gets the same answer. The last account to
    leave closes the convo.
    """
    if target_did not in {None, who.did}:
        raise Forbidden("Nobody can leave for somebody else; remove a member with removeMember.")
    with (
        journaled(LEAVE_CONVO, "proposal", convo_id=convo_id, who=who, body=proposal),
        locked_convo(convo_id) as convo,
    ):
        places = places_of(convo_id, who)
        if places:
            leave = _leave_tracked if convo.mode == Mode.TRACKED else _leave_opaque
            leave(convo, places, proposal)
            settle_roles(convo)
        elif not _has_left(convo, who):
            require_member(convo_id, who)
        return {"success": True, "newEpoch": convo.epoch}


def _leave_tracked(convo: Convo, places: Sequence[Member], proposal: bytes | None) -> None:
    if proposal is not None:
        info = read_proposal(convo, proposal)
        _require_own_removal(info, places)
        append_proposal(convo, proposal, info, sender_did=places[0].did, required=True)
    for place in places:
        begin_leaving(convo, place)
    propose_removals(convo)


def _leave_opaque(convo: Convo, places: Sequence[Member], proposal: bytes | None) -> None:
    if proposal is not None:
        require_framed_proposal(proposal, epoch=convo.epoch, group_id=bytes(convo.group_id))
        append_entry(
            convo,
            kind=Kind.PROPOSAL,
            epoch=convo.epoch,
            msg_id=handshake_id(proposal),
            body=proposal,
            sender_did=places[0].did,
        )
    for place in places:
        close_place(convo, place, how=Left.LEFT)


def _require_own_removal(info: ProposalInfo, places: Sequence[Member]) -> None:
    mine = {place.leaf_index for place in places}
    if info.removed not in mine or info.sender_index not in mine:
        raise InvalidCommit("proposal.not_a_leave: the proposal does not remove a leaf of yours.")


def _has_left(convo: Convo, who: Asking) -> bool:
    mine = convo.members.filter(did=who.did)
    if who.device_id is not None:
        mine = mine.filter(device_id__in=[who.device_id, ""])
    newest = mine.order_by("-pk").first()
    return newest is not None and (newest.leaving_at is not None or newest.left_how == Left.LEFT)
