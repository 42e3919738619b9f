"""Bringing one convo, or all of them, to where the server is."""

from dataclasses import dataclass, field

from openmls import MlsError

from catbird.commits import resolve, settle_proposals
from catbird.errors import CatbirdError, RateLimited, Unavailable, XrpcError
from catbird.membership import announce, confirm, depart, join
from catbird.recovery import come_back, expect, notice_loss
from catbird.rows import OUTSIDE, ConvoRow, Kind, State
from catbird.sending import flush
from catbird.session import Session
from catbird.sync import pull
from catbird.wire import Json

PAUSE_SECONDS = 0.1


@dataclass
class SyncReport:
    """What a sync did. ``failed`` says why a convo could not be brought up to date; the others are.

    In ``rejoined`` are those this device had lost and is in again, in ``waiting`` those whose members it has
    asked to be let in.
    """

    joined: list[str] = field(default_factory=list)
    rejoined: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    messages: int = 0
    gone: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


async def sync_all(session: Session) -> SyncReport:
    """Join what this device was added to, send what was left unsent, read every log to its end.

    The first time after connecting, come in wherever the server expects this device as well.
    """
    report = SyncReport()
    listed = await session.methods.all_convos()
    for view in listed.values():
        await _join_if_new(session, view, report)
    for convo in session.store.convos():
        if convo.state is not State.GONE:
            await _sync_one(session, convo, listed.get(convo.id), report)
    if not session.looked_around:
        await _come_in_where_expected(session, report)
    return report


async def recover(session: Session) -> SyncReport:
    """Find out where this device should be and is not, and come back everywhere. Twice is harmless."""
    report = SyncReport()
    for convo in session.store.convos():
        if convo.state in OUTSIDE or (convo.state is State.OK and not session.has_group(convo.id)):
            await _sync_one(session, convo, None, report)
    await _come_in_where_expected(session, report)
    return report


async def catch_up(session: Session, convo_id: str) -> bool:
    """Bring one convo up to date, and do a member's share of the group's upkeep.

    A convo that is lost, or turns out to be, is come back into; True when that was so.
    """
    async with session.lock(convo_id):
        notice_loss(session, convo_id)
        await _finish(session, convo_id)
        await pull(session, convo_id)
        came_back = session.convo(convo_id).state in OUTSIDE and await _return(session, convo_id)
    await settle_proposals(session, convo_id)
    return came_back


async def _return(session: Session, convo_id: str) -> bool:
    """Come back, then send and read as if nothing had been. False when this device is still outside."""
    await come_back(session, convo_id)
    if session.convo(convo_id).state is not State.OK:
        return False
    await flush(session, convo_id)
    await pull(session, convo_id)
    return True


async def _come_in_where_expected(session: Session, report: SyncReport) -> None:
    """Into the account's convos that this device does not know, or was shut out of without being removed."""
    for view in await _expected(session):
        convo_id, inside = str(view["convoId"]), view.get("deviceInGroup", True)
        async with session.lock(convo_id):
            missed = view["shouldBeInGroup"] and _is_missed(session, convo_id, inside=inside)
            if missed:
                expect(session, convo_id, str(view["name"]))
        if missed:
            await _sync_one(session, session.convo(convo_id), None, report)
            await session.sleep(session.jitter() * PAUSE_SECONDS)
    session.looked_around = True


def _is_missed(session: Session, convo_id: str, *, inside: bool) -> bool:
    """Who has left, or was removed by a commit, has forgotten the group and does not come back by itself."""
    convo = session.store.convo(convo_id)
    if convo is None:
        return True
    return convo.state is State.GONE and session.has_group(convo_id) and not inside


async def _expected(session: Session) -> list[Json]:
    """Where the server says this device should be; nowhere, when it knows neither device nor question."""
    try:
        answer = await session.methods.get_expected_conversations(session.device_id)
    except (RateLimited, Unavailable):
        raise
    except XrpcError:
        return []
    return list(answer["conversations"])


async def _sync_one(session: Session, convo: ConvoRow, view: Json | None, report: SyncReport) -> None:
    if _is_current(session, convo, view):
        return
    try:
        if await catch_up(session, convo.id):
            report.rejoined.append(convo.id)
    except (CatbirdError, MlsError) as error:
        report.failed[convo.id] = str(error)
    now = session.convo(convo.id)
    report.messages += session.store.count_messages(convo.id, after=convo.seq or 0, up_to=now.seq or 0)
    if now.state is State.GONE:
        report.gone.append(convo.id)
    elif now.state is State.WAITING:
        report.waiting.append(convo.id)
    elif now.state is State.LOST:
        report.failed.setdefault(convo.id, "this device cannot follow the group any more")


def _is_current(session: Session, convo: ConvoRow, view: Json | None) -> bool:
    """Whether the list alone shows that there is nothing to read, to send or to commit."""
    if view is None or convo.state is not State.OK or convo.unconfirmed:
        return False
    if convo.seq is None or view.get("lastSeq") != convo.seq or session.store.outbox(convo.id):
        return False
    return session.has_group(convo.id) and not session.group(convo.id).pending_proposals()


async def _join_if_new(session: Session, view: Json, report: SyncReport) -> None:
    convo_id = str(view["groupId"])
    async with session.lock(convo_id):
        known = session.store.convo(convo_id)
        if known is not None and known.state is not State.GONE:
            return
        listed = _lists(view, session.device_id)
        try:
            refused = await join(session, view)
        except CatbirdError as error:
            if listed:
                report.failed[convo_id] = str(error)
            return
        if refused is None:
            report.joined.append(convo_id)
        elif listed:
            # In by the roster, and the Welcome is of no use: another way is needed.
            expect(session, convo_id, str(view.get("metadata", {}).get("name", "")))


def _lists(view: Json, device_id: str) -> bool:
    """Whether this very device is listed; another device of the account may be in without it."""
    return any(member.get("deviceId") == device_id for member in view["members"])


async def _finish(session: Session, convo_id: str) -> None:
    """Take up what a crash or a lost connection has left half done."""
    for outgoing in session.store.outbox(convo_id):
        if outgoing.kind is Kind.CREATE:
            await announce(session, outgoing)
        elif outgoing.kind is Kind.LEAVE:
            await depart(session, outgoing)
    if session.convo(convo_id).unconfirmed:
        await confirm(session, convo_id)
    if session.convo(convo_id).state is not State.OK:
        return
    await resolve(session, convo_id)
    await flush(session, convo_id)
