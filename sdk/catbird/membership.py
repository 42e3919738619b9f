"""How a device gets into a convo and out of it. Everything here expects the convo's lock to be held."""

import secrets
import uuid
from collections.abc import Sequence
from contextlib import suppress

from openmls import MlsError
from openmls.client import Group

from catbird.commits import Change, commit
from catbird.errors import (
    ConvoInactive,
    EpochMismatch,
    Gone,
    NoKeyPackages,
    NotFound,
    NotMember,
    RateLimited,
    Unavailable,
    XrpcError,
)
from catbird.packages import choose
from catbird.rows import ConvoRow, Kind, Outgoing, State
from catbird.session import Session
from catbird.sync import pull
from catbird.wire import SUITES, BadAnswer, Json, decode, encode

GROUP_ID_BYTES = 16
SELF_REMOVE = 10
MAX_LEAVE_ATTEMPTS = 5
MAX_DETAILS = 1024


def new_convo_id() -> str:
    return secrets.token_hex(GROUP_ID_BYTES)


def start(session: Session, convo_id: str, name: str, description: str) -> Outgoing:
    """Make the group here, alone in it, and keep the request that tells the server."""
    sender = session.device.external_sender
    senders = [(sender.identity, sender.signature_key)] if sender else []
    with session.change() as engine:
        # Listed in the group, the server may propose removals, which is all that members commit of it.
        group = engine.create_group(bytes.fromhex(convo_id), external_senders=senders)
        request = {
            "groupId": convo_id,
            "idempotencyKey": str(uuid.uuid4()),
            "cipherSuite": SUITES[group.ciphersuite],
            "metadata": {"name": name} | ({"description": description} if description else {}),
            "deviceId": session.device_id,
            # With this the server follows the group and lets nobody in or out but by commits it has verified.
            "groupInfo": encode(group.group_info(with_tree=True)),
        }
        session.store.put_convo(ConvoRow(convo_id, name, State.CREATING, group.epoch, group.epoch, 0, False))
        outgoing = Outgoing(convo_id, convo_id, Kind.CREATE, "createConvo", request, b"", "", group.epoch)
        session.store.put_outgoing(outgoing)
    return outgoing


async def announce(session: Session, outgoing: Outgoing) -> None:
    """Tell the server of a new convo. Repeating it is harmless: the group id is the convo's id."""
    await session.methods.repeat(outgoing.method, outgoing.request)
    with session.store.transaction():
        session.store.set_state(outgoing.convo_id, State.OK)
        session.store.drop_outgoing(outgoing.id)


async def add(session: Session, convo_id: str, dids: Sequence[str]) -> int:
    """Let in every device of these accounts that is not in yet; nothing happens when all are.

    All in one commit, or none: an account without a usable package is an error. Of the own account only other
    devices count, and it may have none.
    """

    async def prepare(group: Group) -> Change | None:
        answer = await session.methods.get_key_packages(dids, SUITES[group.ciphersuite])
        present = {member.signature_key for member in group.members()}
        chosen, without = choose(answer["keyPackages"], dids, present)
        if unreached := [did for did in without if did != session.did]:
            raise NoKeyPackages(unreached)
        if not chosen:
            return None
        hashes = [{"did": package.did, "hash": package.hash} for package in chosen]
        entering = list(dict.fromkeys(package.did for package in chosen))
        return Change(
            fields={"didList": entering, "keyPackageHashes": hashes},
            add=tuple(package.data for package in chosen),
        )

    return await commit(session, convo_id, prepare)


async def remove(session: Session, convo_id: str, did: str) -> int:
    """Put out every device of an account with one commit; nothing happens when none is in."""

    async def prepare(group: Group) -> Change | None:
        leaves = {member.leaf_index for member in group.members() if member.identity == did.encode()}
        if not leaves:
            return None
        # A leaf that is proposed for removal goes by that proposal; a commit must not name it twice.
        proposed = {proposal.removed for proposal in group.pending_proposals()}
        return Change("removeMember", {"targetDid": did}, remove=tuple(sorted(leaves - proposed)))

    return await commit(session, convo_id, prepare)


async def renew(session: Session, convo_id: str) -> int:
    """Replace this device's keys in the group: a stolen copy of the old ones opens nothing that follows."""

    async def prepare(_group: Group) -> Change | None:
        return Change(update=True)

    return await commit(session, convo_id, prepare)


async def leave(session: Session, convo_id: str) -> None:
    """Propose the own removal and stop acting; a member that stays commits it. Twice is harmless."""
    for outgoing in session.store.outbox(convo_id):
        if outgoing.kind is Kind.LEAVE and await depart(session, outgoing):
            return
    for _ in range(MAX_LEAVE_ATTEMPTS):
        await pull(session, convo_id)
        if session.convo(convo_id).state is State.GONE:
            return
        outgoing = _propose_leaving(session, convo_id)
        if await depart(session, outgoing):
            return
        await session.sleep(session.jitter())
    raise ConvoInactive(f"{convo_id} moved on {MAX_LEAVE_ATTEMPTS} times while leaving it")


async def depart(session: Session, outgoing: Outgoing) -> bool:
    """Hand in a proposal to leave. False when its epoch is over and another one is needed."""
    try:
        await session.methods.repeat(outgoing.method, outgoing.request)
    except (NotMember, NotFound, Gone):
        pass  # Out already: an earlier try was taken, or somebody was faster.
    except (RateLimited, Unavailable):
        raise
    except XrpcError as error:
        with session.store.transaction():
            session.store.drop_outgoing(outgoing.id)
        if isinstance(error, EpochMismatch):
            return False
        raise
    forget(session, outgoing.convo_id)
    return True


def forget(session: Session, convo_id: str) -> None:
    """Out for good: the group's secrets are deleted, what was read stays."""
    with session.change() as engine:
        session.store.set_state(convo_id, State.GONE)
        session.store.drop_outbox(convo_id)
        if session.has_group(convo_id):
            engine.forget_group(bytes.fromhex(convo_id))


async def join(session: Session, view: Json) -> str | None:
    """Enter a convo by its Welcome. None when in, else why not; a refused Welcome can be used again."""
    convo_id = str(view["groupId"])
    try:
        answer = await session.methods.get_welcome(convo_id, session.device_id)
    except (NotMember, NotFound, Gone) as error:
        return error.name
    try:
        _enter(session, convo_id, view, answer)
    except (MlsError, BadAnswer) as error:
        details = str(error)[:MAX_DETAILS]
        with suppress(NotMember, NotFound, Gone):
            await session.methods.confirm_welcome(convo_id, session.device_id, success=False, details=details)
        return details
    await confirm(session, convo_id)
    return None


async def confirm(session: Session, convo_id: str) -> None:
    """Tell the server that its Welcome has done its work; a server that no longer knows it is content."""
    with suppress(NotMember, NotFound, Gone):
        await session.methods.confirm_welcome(convo_id, session.device_id, success=True)
    with session.store.transaction():
        session.store.set_confirmed(convo_id)


def _enter(session: Session, convo_id: str, view: Json, answer: Json) -> None:
    tree = decode(answer["ratchetTree"]) if "ratchetTree" in answer else None
    name = str(view.get("metadata", {}).get("name", ""))
    with session.change() as engine:
        if bytes.fromhex(convo_id) in engine.group_ids():
            engine.forget_group(bytes.fromhex(convo_id))
        group = engine.join(decode(answer["welcome"]), tree)
        if group.group_id.hex() != convo_id:
            raise BadAnswer("the Welcome is for another group")
        session.store.drop_commits(convo_id)
        session.store.put_convo(ConvoRow(convo_id, name, State.OK, group.epoch, group.epoch, None, True))


def _propose_leaving(session: Session, convo_id: str) -> Outgoing:
    """A SelfRemove where every member understands it, else a Remove of the own leaf.

    A device that has lost the group can propose nothing and just goes; the server has its leaf removed.
    """
    proposal = _leaving_proposal(session, convo_id) if session.convo(convo_id).state is State.OK else b""
    request = {"convoId": convo_id, "deviceId": session.device_id}
    request |= {"commit": encode(proposal)} if proposal else {}
    epoch = session.convo(convo_id).epoch
    outgoing = Outgoing(str(uuid.uuid4()), convo_id, Kind.LEAVE, "leaveConvo", request, proposal, "", epoch)
    with session.store.transaction():
        session.store.put_outgoing(outgoing)
    return outgoing


def _leaving_proposal(session: Session, convo_id: str) -> bytes:
    group = session.scratch_group(convo_id)
    everybody = all(SELF_REMOVE in member.proposals for member in group.members())
    return group.propose_self_remove() if everybody else group.propose_leave()
