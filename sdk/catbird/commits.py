"""Changing a group: build a commit, offer it for the epoch it was made in, keep it or build another.

Of all commits made for one epoch the server takes one. Each attempt is written to the outbox together with
the engine's state before it is sent, and the engine enters the new epoch only when the log is known to hold
the commit. Everything here expects the convo's lock to be held, except by ``settle_proposals``.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from openmls.client import Group

from catbird.errors import (
    CommitLost,
    ConvoInactive,
    EpochMismatch,
    InvalidCommit,
    KeyPackageNotFound,
    Unavailable,
    XrpcError,
)
from catbird.rows import Kind, Outgoing, State
from catbird.session import Session
from catbird.sync import pull
from catbird.wire import Json, encode

MAX_ATTEMPTS = 8
JITTER_SECONDS = 0.3
TURN_SECONDS = 0.15
LONGEST_TURN = 10


@dataclass(frozen=True)
class Change:
    """What a commit should do besides committing the pending proposals, and the method that carries it."""

    method: str = "addMembers"
    fields: Json = field(default_factory=lambda: {"didList": []})
    add: tuple[bytes, ...] = ()
    remove: tuple[int, ...] = ()
    update: bool = False


Prepare = Callable[[Group], Awaitable[Change | None]]


async def commit(session: Session, convo_id: str, prepare: Prepare) -> int:
    """Bring a change about and return the epoch it led to.

    ``prepare`` is asked anew for every attempt, because the group may be another one by then; with None
    there is nothing left to do.
    """
    for _ in range(MAX_ATTEMPTS):
        await resolve(session, convo_id)
        await pull(session, convo_id)
        session.require_active(convo_id)
        change = await prepare(session.group(convo_id))
        if change is None:
            return session.group(convo_id).epoch
        if await submit(session, stage(session, convo_id, change)):
            return session.group(convo_id).epoch
        await session.sleep(session.jitter() * JITTER_SECONDS)
    raise CommitLost(f"{MAX_ATTEMPTS} commits in {convo_id} were overtaken by others")


async def resolve(session: Session, convo_id: str) -> None:
    """Find out what became of a commit without an answer; offer it again when the log does not say."""
    for outgoing in session.store.outbox(convo_id):
        if outgoing.kind is not Kind.COMMIT:
            continue
        await pull(session, convo_id)
        if session.store.outgoing(outgoing.id) is not None:
            await submit(session, outgoing)


def stage(session: Session, convo_id: str, change: Change) -> Outgoing:
    """Make the commit and keep it, with its keys, before anybody can see it."""
    with session.change():
        group = session.group(convo_id)
        bundle = group.commit(add=change.add, remove=change.remove, update=change.update)
        key = str(uuid.uuid4())
        request: Json = {
            "convoId": convo_id,
            "idempotencyKey": key,
            "commit": encode(bundle.commit),
            "groupInfo": encode(bundle.group_info),
        }
        if bundle.welcome is not None:
            request["welcomeMessage"] = encode(bundle.welcome)
        outgoing = Outgoing(
            key, convo_id, Kind.COMMIT, change.method, request | change.fields, bundle.commit, "", group.epoch
        )
        session.store.put_outgoing(outgoing)
    return outgoing


async def submit(session: Session, outgoing: Outgoing) -> bool:
    """Whether the commit won its epoch. While nobody can tell, it stays in the outbox and this raises."""
    try:
        answer = await session.methods.repeat(outgoing.method, outgoing.request)
    except XrpcError as error:
        return await _after_refusal(session, outgoing, error)
    _confirm(session, outgoing, answer)
    return True


async def settle_proposals(session: Session, convo_id: str) -> None:
    """Commit what others have proposed, above all their leaving.

    Every member sees the same proposals. They take turns by leaf, so that usually one commit is made and
    not as many as there are members; whose turn comes later finds the work done.
    """
    turn = _turn(session, convo_id)
    if turn is None:
        return
    await take_turn(session, turn)
    async with session.lock(convo_id):
        if session.convo(convo_id).state is State.OK:
            await commit(session, convo_id, _pending)


async def take_turn(session: Session, place: int) -> None:
    """Wait for those before; the first one does not wait."""
    if place:
        await session.sleep((min(place, LONGEST_TURN) + session.jitter()) * TURN_SECONDS)


async def settle_in_line(session: Session, convo_id: str) -> None:
    """The same at once, for a member that cannot go on before it is done; it holds the lock already."""
    group = session.group(convo_id)
    if any(proposal.removed == group.own_leaf for proposal in group.pending_proposals()):
        raise ConvoInactive(f"this device is about to be removed from {convo_id}")
    if group.pending_proposals():
        await commit(session, convo_id, _pending)


async def _pending(group: Group) -> Change | None:
    return Change() if group.pending_proposals() else None


def _turn(session: Session, convo_id: str) -> int | None:
    """How many members come before this one; None when there is nothing for it to commit."""
    convo = session.convo(convo_id)
    if convo.state is not State.OK:
        return None
    group = session.group(convo_id)
    proposals = group.pending_proposals()
    leaving = {proposal.removed for proposal in proposals if proposal.removed is not None}
    if not proposals or group.own_leaf in leaving:
        return None
    staying = sorted(member.leaf_index for member in group.members() if member.leaf_index not in leaving)
    return staying.index(group.own_leaf)


async def _after_refusal(session: Session, outgoing: Outgoing, error: XrpcError) -> bool:
    """Look at the log before believing a refusal: an earlier try of the same request may have been taken."""
    pulled = await pull(session, outgoing.convo_id)
    if session.store.outgoing(outgoing.id) is None:
        return outgoing.id in pulled.won
    if isinstance(error, Unavailable):
        raise error
    _discard(session, outgoing)
    if isinstance(error, EpochMismatch | KeyPackageNotFound):
        return False
    if isinstance(error, InvalidCommit) and error.left_out_removal:
        return False
    raise error


def _confirm(session: Session, outgoing: Outgoing, answer: Json) -> None:
    with session.change():
        group = session.group(outgoing.convo_id)
        group.confirm()
        session.store.drop_outgoing(outgoing.id)
        convo = session.convo(outgoing.convo_id)
        taken_at = answer.get("seq")
        # Only the next place may be ticked off; what others wrote in between is still to be read.
        follows = convo.seq is not None and taken_at == convo.seq + 1
        session.store.set_position(convo.id, epoch=group.epoch, seq=taken_at if follows else convo.seq)


def _discard(session: Session, outgoing: Outgoing) -> None:
    with session.change():
        session.group(outgoing.convo_id).discard()
        session.store.drop_outgoing(outgoing.id)
