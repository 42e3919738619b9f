"""Tracked convos: the roster is the ratchet tree, followed commit by commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catbird_mls.rows import save_fields
from catbird_mls.trips import Asked, in_one_go, read_ahead, write
from conversations.conflicts import pending_proposals
from conversations.errors import InvalidCommit
from conversations.framing import CommitInfo, PublicGroup, StoredGroup, verify_commit
from conversations.models import Convo, GroupState, Kind, Left, Member, Message, Proposal
from conversations.nudges import prepare_doors
from conversations.rejoining import bans_of
from conversations.selectors import places_of_accounts, require_admin
from conversations.services.banning import require_none_banned
from conversations.services.bundle import CommitBundle, require_claims
from conversations.services.log import ADD_MEMBERS, REMOVE_MEMBER, append_entry, handshake_id, record_epoch
from conversations.services.proposals import (
    leaving_leaves,
    propose_removals,
    proposed_removals,
    required_removals,
    stored_group,
    tracked_state,
)
from conversations.services.roster import (
    Newcomer,
    answer_readditions,
    bring_in,
    close_place,
    readditions_of,
    rows_by_leaf,
    waits_for_readding,
)
from keypackages.framing import welcome_references
from keypackages.selectors import devices_of_keys
from keypackages.services import (
    SpentPackage,
    WelcomeToSend,
    questions_of_newcomers,
    send_welcomes,
    spend_key_packages,
)

# What was proposed in the epoch goes with it, and a GroupInfo of the new one has come.
END_EPOCH = """
WITH proposed AS (DELETE FROM conversations_proposal WHERE convo_id = %s)
DELETE FROM conversations_groupinforequest WHERE convo_id = %s
"""
STATE_FIELDS = ("epoch", "ratchet_tree", "group_context", "confirmation_tag", "group_info")


@dataclass(frozen=True, slots=True)
class _Verified:
    """A commit that fits the public group, and whom of the roster it is about."""

    state: GroupState
    proposals: Sequence[Proposal]
    info: CommitInfo
    group: PublicGroup
    rows: dict[int, Member]

    @property
    def committer(self) -> Member:
        return self.rows[self.info.committer]

    @property
    def leavers(self) -> list[Member]:
        return [self.rows[leaf.leaf_index] for leaf in self.info.removed]

    @property
    def references(self) -> list[bytes]:
        """Of the packages whose devices it adds."""
        return [leaf.reference for leaf in self.info.added if leaf.reference is not None]


def append_tracked_commit(
    convo: Convo, places: Sequence[Member], *, bundle: CommitBundle, dids: Sequence[str], removed_did: str | None
) -> Message:
    """Verify a commit and let it take its whole effect, or refuse it and leave no trace."""
    found = _verified(convo, places, bundle)
    _require_own_leaf(found.info, places)
    _require_pending_removals(found)
    _require_known_keys(found.info, found.rows)
    if found.info.extensions_changed:
        require_admin(places)
    with read_ahead(*_questions(convo, found, dids)), in_one_go():
        spent = _spend(convo, found, bundle, dids)
        require_none_banned(convo, {package.did for package in spent.values()})
        _require_removals_allowed(convo, places, found, spent, removed_did)
        nsid = ADD_MEMBERS if removed_did is None else REMOVE_MEMBER
        return _write(convo, places[0].did, found, bundle, spent, nsid=nsid)


def _verified(convo: Convo, places: Sequence[Member], bundle: CommitBundle) -> _Verified:
    state, proposals = tracked_state(convo), pending_proposals(convo)
    info, group = verify_commit(
        stored_group(convo, state, proposals),
        bundle.commit,
        group_info_bytes=bundle.group_info,
        welcomes=bundle.welcomes,
    )
    leaves = {*(leaf.leaf_index for leaf in info.removed), *(leaf.leaf_index for leaf in info.updated)}
    return _Verified(state, proposals, info, group, _rows_by_leaf(convo, places, {info.committer, *leaves}))


def _questions(convo: Convo, found: _Verified, dids: Sequence[str]) -> list[Asked]:
    """What letting these accounts in asks; a commit that also removes asks the roster when it has removed."""
    accounts = sorted(set(dids))
    questions = [*questions_of_newcomers(convo.pk, accounts, found.references), bans_of.of(convo.pk, accounts)]
    if not found.info.removed:
        questions += [places_of_accounts.of(convo.pk, accounts), leaving_leaves.of(convo.pk)]
        questions.append(readditions_of.of(convo.pk, accounts))
    return questions


def _write(
    convo: Convo, sender: str, found: _Verified, bundle: CommitBundle, spent: dict[bytes, SpentPackage], *, nsid: str
) -> Message:
    message = append_entry(
        convo,
        kind=Kind.COMMIT,
        epoch=found.info.epoch_after,
        msg_id=handshake_id(bundle.commit),
        body=bundle.commit,
        sender_did=sender,
    )
    for member in found.leavers:
        close_place(convo, member, how=Left(member.left_how or Left.REMOVED))
    newcomers = _newcomers(found.info, spent)
    bring_in(convo, newcomers)
    record_epoch(convo, by=found.committer, nsid=nsid, added=newcomers, removed=found.leavers)
    answer_readditions(convo, [(package.did, package.device_id) for package in spent.values()])
    keep_state(found.state, found.group, bundle)
    propose_removals(convo, found.group)
    addressed = _addressed(bundle.welcomes, spent)
    tree = bytes(found.state.ratchet_tree)
    send_welcomes(convo_id=convo.pk, epoch=convo.epoch, welcomes=addressed, ratchet_tree=tree)
    return message


def _rows_by_leaf(convo: Convo, places: Sequence[Member], leaves: set[int]) -> dict[int, Member]:
    """Who stands at these leaves; most commits are about none but the committer's own."""
    known = {place.leaf_index: place for place in places if place.leaf_index in leaves}
    return known if leaves == known.keys() else rows_by_leaf(convo, leaves)


def _require_own_leaf(info: CommitInfo, places: Sequence[Member]) -> None:
    if info.committer not in {place.leaf_index for place in places}:
        raise InvalidCommit("commit.not_your_leaf: the commit was made by another member.")


def _require_pending_removals(found: _Verified) -> None:
    """A member that left is removed by whatever commit comes next, by its proposal or by value."""
    removed = {leaf.leaf_index for leaf in found.info.removed}
    missing = [leaf for leaf in required_removals(found.proposals) if leaf not in removed]
    if missing:
        raise InvalidCommit(f"commit.pending_removal_left_out: leaves {missing} are to be removed.")


def _put_out(leavers: Sequence[Member], spent: Mapping[bytes, SpentPackage]) -> list[tuple[Member, bool]]:
    """Those a commit removes, each with whether it lets the same device in anew."""
    again = {(package.did, package.device_id) for package in spent.values()}
    return [(member, (member.did, member.device_id) in again) for member in leavers]


def _require_removals_allowed(
    convo: Convo,
    places: Sequence[Member],
    found: _Verified,
    spent: Mapping[bytes, SpentPackage],
    removed_did: str | None,
) -> None:
    """Removing others takes the role.

    It does not take it for leavers, for one's own devices, for what somebody with the role has proposed, and for a
    device that asked to be added again and is.
    """
    leavers, proposed = _put_out(found.leavers, spent), proposed_removals(found.proposals)
    for member, again in leavers:
        others = member.leaving_at is None and member.did != places[0].did and member.leaf_index not in proposed
        if others and not (again and waits_for_readding(convo, member)):
            require_admin(places)
    if removed_did is not None and removed_did not in {member.did for member, _ in leavers}:
        raise InvalidCommit("commit.target_not_removed: the commit does not remove the member that is named.")


def _require_known_keys(info: CommitInfo, rows: dict[int, Member]) -> None:
    """A member that rotates its signature key rotates to the registered key of the same device."""
    changed = [leaf for leaf in info.updated if leaf.new_signature_key != leaf.old_signature_key]
    devices = devices_of_keys([leaf.new_signature_key for leaf in changed])
    for leaf in changed:
        row = rows[leaf.leaf_index]
        device = devices.get((row.did, leaf.new_signature_key))
        if device is None or device.device_id != row.device_id:
            raise InvalidCommit("commit.unknown_signature_key: register the device's new signature key first.")


def _spend(convo: Convo, found: _Verified, bundle: CommitBundle, dids: Sequence[str]) -> dict[bytes, SpentPackage]:
    """Use up the packages of the Adds, which the binding has found to be those of the Welcomes."""
    references, by_device = found.references, found.committer.device_id
    require_claims(bundle.claimed, references)
    spent = {
        one.reference: one for one in spend_key_packages(convo_id=convo.pk, references=references, by_device=by_device)
    }
    added = {one.did for one in spent.values()}
    if dids and added != set(dids):
        raise InvalidCommit("commit.other_members_added: the commit does not add exactly the accounts named.")
    return spent


def _newcomers(info: CommitInfo, spent: dict[bytes, SpentPackage]) -> list[Newcomer]:
    packages = [(leaf, spent[leaf.reference]) for leaf in info.added if leaf.reference is not None]
    return [Newcomer(package.did, package.device_id, leaf.leaf_index) for leaf, package in packages]


def _addressed(welcomes: Sequence[bytes], spent: dict[bytes, SpentPackage]) -> list[WelcomeToSend]:
    return [
        WelcomeToSend(body=body, packages=[spent[reference] for reference in welcome_references(body)])
        for body in welcomes
    ]


def keep_state(state: GroupState, group: PublicGroup, bundle: CommitBundle) -> None:
    assert bundle.group_info is not None, "a tracked commit is verified with its GroupInfo"
    stored = StoredGroup.of(group)
    state.epoch = group.epoch
    state.ratchet_tree, state.group_context = stored.ratchet_tree, stored.group_context
    state.confirmation_tag, state.group_info = stored.confirmation_tag, bundle.group_info
    state.checked_at, state.fault = None, ""
    save_fields(state, *STATE_FIELDS, "checked_at", "fault", "updated_at")
    write(END_EPOCH, [state.convo_id, state.convo_id])
    prepare_doors()
