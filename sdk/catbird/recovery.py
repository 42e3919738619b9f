"""The way back into a convo whose group this device has lost.

It is tried in this order: the Welcome that may wait, an external commit of one's own, a request that the
members answer by a Welcome. An external commit is written to the outbox with the engine's state before it is
sent and stays there until its fate is known, so that the same bytes are offered again after a lost answer and
the device enters no epoch that the log does not have. Everything here expects the convo's lock to be held.
"""

import uuid
from dataclasses import replace

from openmls import MlsError

from catbird import packages
from catbird.commits import JITTER_SECONDS
from catbird.errors import (
    CatbirdError,
    CommitLost,
    EpochMismatch,
    GroupInfoUnavailable,
    NotFound,
    NotMember,
    RateLimited,
    TooManyKeyPackages,
    Unavailable,
    XrpcError,
)
from catbird.membership import join
from catbird.rows import ConvoRow, Kind, Outgoing, State
from catbird.session import Session
from catbird.sync import close
from catbird.wire import BadAnswer, Json, decode, encode

MAX_ATTEMPTS = 5
RETRY_SECONDS = 15 * 60


def notice_loss(session: Session, convo_id: str) -> None:
    """A convo whose group the engine does not have is lost, whatever its row says."""
    if session.convo(convo_id).state is State.OK and not session.has_group(convo_id):
        close(session, convo_id, State.LOST)


def expect(session: Session, convo_id: str, name: str) -> None:
    """From here on the convo is one that this device has to come back into."""
    known = session.store.convo(convo_id)
    row = known or ConvoRow(convo_id, name, State.LOST, 0, 0, None, False)
    with session.store.transaction():
        session.store.put_convo(replace(row, state=State.LOST, retry_at=0))


async def come_back(session: Session, convo_id: str) -> None:
    """Be in again, or have asked the members, or be told why neither is possible.

    Safe to be cut off and called again at any point. A convo that refused is left alone until its
    ``retry_at``, but for the Welcome that may have come.
    """
    if await _resume(session, convo_id):
        return
    convo = session.convo(convo_id)
    if await join(session, {"groupId": convo_id, "metadata": {"name": convo.name}}) is None:
        return
    if session.clock() < convo.retry_at:
        return
    try:
        await _by_external_commit(session, convo_id)
    except Unavailable:
        raise
    except (CatbirdError, MlsError, BadAnswer) as refusal:
        await _ask_members(session, convo_id, refusal)


async def _resume(session: Session, convo_id: str) -> bool:
    """Find out what became of an external commit that was cut off."""
    for outgoing in session.store.outbox(convo_id):
        if outgoing.kind is Kind.REJOIN:
            try:
                return await _submit(session, outgoing)
            except (RateLimited, Unavailable):
                raise
            except XrpcError:
                return False
    return False


async def _by_external_commit(session: Session, convo_id: str) -> None:
    """Commit this device in, each time from a fresh GroupInfo, until a commit wins its epoch."""
    for _ in range(MAX_ATTEMPTS):
        info = await session.methods.get_group_info(convo_id)
        if await _submit(session, _stage(session, convo_id, info)):
            return
        await session.sleep(session.jitter() * JITTER_SECONDS)
    raise CommitLost(f"{MAX_ATTEMPTS} ways back into {convo_id} were overtaken by others")


def _stage(session: Session, convo_id: str, info: Json) -> Outgoing:
    """Make the commit, which replaces this device's old leaf if there is one, and keep it."""
    tree = decode(info["ratchetTree"]) if "ratchetTree" in info else None
    with session.change() as engine:
        group, bundle = engine.join_external(decode(info["groupInfo"]), tree)
        if group.group_id.hex() != convo_id:
            raise BadAnswer("the GroupInfo is of another group")
        key = str(uuid.uuid4())
        request = {
            "convoId": convo_id,
            "deviceId": session.device_id,
            "idempotencyKey": key,
            "externalCommit": encode(bundle.commit),
            "groupInfo": encode(bundle.group_info),
        }
        outgoing = Outgoing(
            key, convo_id, Kind.REJOIN, "processExternalCommit", request, bundle.commit, "", group.epoch
        )
        session.store.drop_commits(convo_id)
        session.store.put_outgoing(outgoing)
    return outgoing


async def _submit(session: Session, outgoing: Outgoing) -> bool:
    """Whether the commit won its epoch. While nobody can tell, it stays in the outbox and this raises."""
    try:
        answer = await session.methods.repeat(outgoing.method, outgoing.request)
    except Unavailable:
        raise
    except XrpcError as refusal:
        if not await _is_in_log(session, outgoing, refusal):
            _give_up(session, outgoing)
            if isinstance(refusal, EpochMismatch):
                return False
            raise
        answer = {}
    _arrive(session, outgoing, answer)
    return True


async def _is_in_log(session: Session, outgoing: Outgoing, refusal: XrpcError) -> bool:
    """A refusal may answer the repetition of a commit that was taken: then it is in the log."""
    if isinstance(refusal, EpochMismatch):
        return refusal.body.get("yours") is True
    epoch = outgoing.epoch
    try:
        page = await session.methods.get_commits(outgoing.convo_id, from_epoch=epoch, to_epoch=epoch)
    except (NotMember, NotFound):
        return False
    return any(decode(view["commitData"]) == outgoing.mls for view in page["commits"])


def _arrive(session: Session, outgoing: Outgoing, answer: Json) -> None:
    """In: the log goes on behind the commit, or, when its place is not told, with the first entry given."""
    with session.store.transaction():
        session.store.put_convo(
            replace(
                session.convo(outgoing.convo_id),
                state=State.OK,
                epoch=outgoing.epoch,
                join_epoch=outgoing.epoch,
                seq=answer.get("seq"),
                unconfirmed=False,
                retry_at=0,
            )
        )
        session.store.drop_outgoing(outgoing.id)


def _give_up(session: Session, outgoing: Outgoing) -> None:
    with session.change() as engine:
        engine.forget_group(bytes.fromhex(outgoing.convo_id))
        session.store.drop_outgoing(outgoing.id)


async def _ask_members(session: Session, convo_id: str, refusal: Exception) -> None:
    """Leave a request that a member answers by letting this device in; else try again after a while."""
    later = _later(session, refusal)
    try:
        if isinstance(refusal, GroupInfoUnavailable):
            await session.methods.group_info_refresh(convo_id)
        await _request(session, convo_id)
    except Unavailable:
        raise
    except XrpcError as error:
        if await _is_stranger(session, convo_id):
            close(session, convo_id, State.GONE)
            return
        _wait(session, convo_id, State.LOST, max(later, _later(session, error)))
        raise
    _wait(session, convo_id, State.WAITING, later)


async def _request(session: Session, convo_id: str) -> None:
    with session.change() as engine:
        (item,) = packages.make(engine, 1)
    try:
        await session.methods.rejoin(convo_id, session.device_id, item["keyPackage"], reason="state_loss")
    except TooManyKeyPackages:
        # There are enough for whoever answers.
        await session.methods.readdition(convo_id, session.device_id)


async def _is_stranger(session: Session, convo_id: str) -> bool:
    """Whether the whole account is out, so that there is nothing to come back to."""
    try:
        await session.methods.get_epoch(convo_id)
    except (NotMember, NotFound):
        return True
    return False


def _later(session: Session, refusal: Exception) -> int:
    asked = refusal.retry_after if isinstance(refusal, RateLimited) else None
    return int(session.clock() + max(RETRY_SECONDS, asked or 0))


def _wait(session: Session, convo_id: str, state: State, retry_at: int) -> None:
    with session.store.transaction():
        session.store.put_convo(replace(session.convo(convo_id), state=state, retry_at=retry_at))
