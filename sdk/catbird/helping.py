"""What a member does for those who ask: let a device in anew, give a GroupInfo to join by.

Everybody hears the same hint. Members take turns by leaf, as with proposals, and whoever finds the work done
leaves it.
"""

from collections.abc import Sequence
from functools import partial

from openmls.client import Group
from openmls.delivery import key_package

from catbird.commits import Change, commit, take_turn
from catbird.errors import NotAdmin
from catbird.events import Received
from catbird.packages import Chosen, choose
from catbird.rows import State
from catbird.session import Session
from catbird.wire import SUITES

Leaves = dict[int, tuple[bytes, bytes]]


async def help_others(session: Session, event: Received) -> None:
    """Answer what a hint asks for; anything else is nobody's business here."""
    convo_id = str(event.body.get("convoId"))
    convo = session.store.convo(convo_id)
    if convo is None or convo.state is not State.OK:
        return
    if event.name == "readditionRequestedEvent":
        await let_in_anew(session, convo_id, str(event.body["userDid"]), str(event.body["requestedAt"]))
    elif event.name == "groupInfoRefreshRequestedEvent":
        await give_group_info(session, convo_id)


async def let_in_anew(session: Session, convo_id: str, did: str, asked_at: str) -> None:
    """Put the old leaf of a device that lost its way out and let the device in again, by one commit.

    A request names the account alone. Devices that are not in are simply added; else every device of the
    account that has a package is let in anew, and where that takes a role, the one for which the server has a
    request. When the account's leaves change meanwhile, somebody else has done it.
    """
    if did == session.did or await _is_answered(session, convo_id, did, asked_at):
        return
    before = _leaves(session.group(convo_id), did)
    await take_turn(session, _place(session.group(convo_id), did))
    async with session.lock(convo_id):
        if session.convo(convo_id).state is not State.OK:
            return
        for leaving in _choices(before, await _offered(session, convo_id, did)):
            try:
                await commit(session, convo_id, partial(_prepare, session, convo_id, did, before, leaving))
            except NotAdmin:
                continue
            return


async def give_group_info(session: Session, convo_id: str) -> None:
    """Upload the current epoch's GroupInfo with its tree; one that comes too late is of no use to anybody."""
    await take_turn(session, _place(session.group(convo_id), None))
    async with session.lock(convo_id):
        if session.convo(convo_id).state is not State.OK:
            return
        group = session.group(convo_id)
        info = group.group_info(with_tree=True)
        await session.methods.update_group_info(convo_id, session.device_id, info, epoch=group.epoch)


async def _is_answered(session: Session, convo_id: str, did: str, asked_at: str) -> bool:
    """Whether every place of the account is younger than its request: then the hint came late."""
    view = (await session.methods.all_convos()).get(convo_id, {})
    joined = [str(member["joinedAt"]) for member in view.get("members", []) if member["userDid"] == did]
    return bool(joined) and all(moment > asked_at for moment in joined)


async def _offered(session: Session, convo_id: str, did: str) -> dict[bytes, Chosen]:
    """One package for each device of the account, by signature key."""
    suite = SUITES[session.group(convo_id).ciphersuite]
    answer = await session.methods.get_key_packages([did], suite)
    chosen, _ = choose(answer["keyPackages"], [did], set())
    return {key_package(package.data).signature_key: package for package in chosen}


def _choices(before: Leaves, offered: dict[bytes, Chosen]) -> list[tuple[int, ...]]:
    """Which leaves to put out, of those that can come in again; the later choices take no role."""
    present = {key for key, _ in before.values()}
    if offered.keys() - present:
        return [()]
    replaceable = tuple(leaf for leaf, (key, _) in sorted(before.items()) if key in offered)
    single = [(leaf,) for leaf in replaceable] if len(replaceable) > 1 else []
    return [replaceable, *single] if replaceable else []


async def _prepare(
    session: Session, convo_id: str, did: str, before: Leaves, leaving: Sequence[int], group: Group
) -> Change | None:
    """The commit, or None when the account's leaves are not those that were there when it asked."""
    if _leaves(group, did) != before:
        return None
    offered = await _offered(session, convo_id, did)
    staying = {key for leaf, (key, _) in before.items() if leaf not in leaving}
    entering = [package for key, package in offered.items() if key not in staying]
    # A leaf that is proposed for removal goes by that proposal; a commit must not name it twice.
    proposed = {proposal.removed for proposal in group.pending_proposals()}
    return Change(
        fields={"didList": [did], "keyPackageHashes": [{"did": did, "hash": one.hash} for one in entering]},
        add=tuple(one.data for one in entering),
        remove=tuple(leaf for leaf in leaving if leaf not in proposed),
    )


def _leaves(group: Group, did: str) -> Leaves:
    """The account's leaves; the encryption key tells a leaf from the one that was there before."""
    return {
        member.leaf_index: (member.signature_key, member.encryption_key)
        for member in group.members()
        if member.identity == did.encode()
    }


def _place(group: Group, did: str | None) -> int:
    """How many members come before this one, without the account that asks."""
    asked = did.encode() if did is not None else None
    leaves = sorted(member.leaf_index for member in group.members() if member.identity != asked)
    return leaves.index(group.own_leaf)
