"""Bringing one convo, or all of them, to where the server is."""

from dataclasses import dataclass, field

from openmls import MlsError

from catbird.commits import resolve, settle_proposals
from catbird.errors import CatbirdError
from catbird.membership import announce, confirm, depart, join
from catbird.rows import ConvoRow, Kind, State
from catbird.sending import flush
from catbird.session import Session
from catbird.sync import pull
from catbird.wire import Json


@dataclass
class SyncReport:
    """What a sync did. ``failed`` says why a convo could not be brought up to date; the others are."""

    joined: list[str] = field(default_factory=list)
    messages: int = 0
    gone: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


async def sync_all(session: Session) -> SyncReport:
    """Join what this device was added to, send what was left unsent, read every log to its end."""
    report = SyncReport()
    listed = await _listed(session)
    for view in listed.values():
        await _join_if_new(session, view, report)
    for convo in session.store.convos():
        if convo.state is not State.GONE:
            await _sync_one(session, convo, listed.get(convo.id), report)
    return report


async def catch_up(session: Session, convo_id: str) -> None:
    """Bring one convo up to date, and do a member's share of the group's upkeep."""
    async with session.lock(convo_id):
        await _finish(session, convo_id)
        await pull(session, convo_id)
    await settle_proposals(session, convo_id)


async def _sync_one(session: Session, convo: ConvoRow, view: Json | None, report: SyncReport) -> None:
    if _is_current(session, convo, view):
        return
    try:
        await catch_up(session, convo.id)
    except (CatbirdError, MlsError) as error:
        report.failed[convo.id] = str(error)
    now = session.convo(convo.id)
    report.messages += session.store.count_messages(convo.id, after=convo.seq or 0, up_to=now.seq or 0)
    if now.state is State.GONE:
        report.gone.append(convo.id)
    elif now.state is State.LOST:
        report.failed.setdefault(convo.id, "this device cannot follow the group any more")


def _is_current(session: Session, convo: ConvoRow, view: Json | None) -> bool:
    """Whether the list alone shows that there is nothing to read, to send or to commit."""
    if view is None or convo.state is not State.OK or convo.unconfirmed:
        return False
    if convo.seq is None or view.get("lastSeq") != convo.seq or session.store.outbox(convo.id):
        return False
    return not session.group(convo.id).pending_proposals()


async def _join_if_new(session: Session, view: Json, report: SyncReport) -> None:
    convo_id = str(view["groupId"])
    async with session.lock(convo_id):
        known = session.store.convo(convo_id)
        if known is not None and known.state in (State.CREATING, State.OK):
            return
        try:
            refused = await join(session, view)
        except CatbirdError as error:
            refused = str(error)
    if refused is None:
        report.joined.append(convo_id)
    elif _lists(view, session.device_id):
        report.failed[convo_id] = refused


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
    await resolve(session, convo_id)
    await flush(session, convo_id)


async def _listed(session: Session) -> dict[str, Json]:
    views: dict[str, Json] = {}
    cursor: str | None = None
    while True:
        page = await session.methods.get_convos(cursor)
        views |= {str(view["groupId"]): view for view in page["conversations"]}
        cursor = page.get("cursor")
        if not cursor:
            return views
