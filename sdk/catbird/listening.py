"""Messages as they come: the stream says when to look, the log what there is."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import TypeVar

from openmls import MlsError

from catbird.catchup import catch_up, sync_all
from catbird.commits import settle_proposals
from catbird.errors import CatbirdError, NotMember, RateLimited, Unavailable
from catbird.events import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, Connected, Received, follow
from catbird.helping import help_others
from catbird.rows import OUTSIDE, Message, State
from catbird.session import Session
from catbird.sync import receive
from catbird.wire import BadAnswer, Entry, entry

T = TypeVar("T")

ALL = "*"
PAGE = 100


async def listen(session: Session, convo_id: str, since: int | None) -> AsyncGenerator[Message, None]:
    """Messages of one convo behind ``since``, without gap or repeat, until this device is out of it."""
    convo = session.convo(convo_id)
    seen = since if since is not None else convo.seq or 0
    try:
        # In one convo the cursor is the place in its log; from 0 on, a newcomer gets what it may read.
        async with aclosing(follow(session, convo_id, str(convo.seq or 0))) as events:
            async for event in events:
                await _patiently(session, partial(_take, session, convo_id, event))
                for message in unseen(session, convo_id, seen):
                    seen = message.seq
                    yield message
                await _upkeep(session, convo_id, event)
                if session.convo(convo_id).state is State.GONE:
                    return
    except NotMember:
        await catch_up(session, convo_id)


async def listen_to_all(session: Session) -> AsyncGenerator[Message, None]:
    """Messages of all convos, also of those joined meanwhile, from where the last listening ended."""
    seen = {convo.id: convo.seq or 0 for convo in session.store.convos()}
    async with aclosing(follow(session, None, session.store.cursor(ALL))) as events:
        async for event in events:
            for convo_id in await _patiently(session, partial(_take_any, session, event)):
                for message in unseen(session, convo_id, seen.get(convo_id, 0)):
                    seen[convo_id] = message.seq
                    yield message
            if isinstance(event, Received) and event.cursor is not None:
                with session.store.transaction():
                    session.store.set_cursor(ALL, event.cursor)


def unseen(session: Session, convo_id: str, seen: int) -> list[Message]:
    """Only what lies before the last place applied: behind it, entries of others may still be missing."""
    applied = session.convo(convo_id).seq or 0
    found: list[Message] = []
    while page := session.store.messages(convo_id, after=seen, up_to=applied, limit=PAGE):
        found += page
        seen = page[-1].seq
    return found


async def _take(session: Session, convo_id: str, event: Connected | Received) -> None:
    announced = _entry(event)
    if announced is None or announced.convo_id != convo_id or not _is_active(session, convo_id):
        await catch_up(session, convo_id)
    else:
        await _receive(session, announced)


async def _take_any(session: Session, event: Connected | Received) -> list[str]:
    """Take an event of any convo and say which may have something new."""
    announced = _entry(event)
    if announced is None or not _is_active(session, announced.convo_id):
        session.looked_around = session.looked_around and isinstance(event, Received)
        await sync_all(session)
        await _help(session, event)
        return [convo.id for convo in session.store.convos()]
    await _receive(session, announced)
    await _upkeep(session, announced.convo_id, event)
    return [announced.convo_id]


async def _receive(session: Session, announced: Entry) -> None:
    """Take an entry; when it shows that this device cannot follow the group any more, come back at once."""
    async with session.lock(announced.convo_id):
        await receive(session, announced)
    if session.convo(announced.convo_id).state in OUTSIDE:
        await catch_up(session, announced.convo_id)


async def _patiently(session: Session, step: Callable[[], Awaitable[T]]) -> T:
    """Do a step as soon as the server answers: a listener outlives a server that is away for a while."""
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            return await step()
        except (RateLimited, Unavailable):
            await session.sleep(delay * (0.5 + session.jitter()))
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)


async def _upkeep(session: Session, convo_id: str, event: Connected | Received) -> None:
    """What cannot be committed is no reason to stop listening; the next event is another occasion."""
    with suppress(CatbirdError):
        await settle_proposals(session, convo_id)
    if isinstance(event, Received) and event.body.get("convoId") == convo_id:
        await _help(session, event)


async def _help(session: Session, event: Connected | Received) -> None:
    """Others were asked too, so what fails here is somebody else's to do."""
    if isinstance(event, Received):
        with suppress(CatbirdError, MlsError, KeyError):
            await help_others(session, event)


def _is_active(session: Session, convo_id: str) -> bool:
    convo = session.store.convo(convo_id)
    return convo is not None and convo.state is State.OK


def _entry(event: Connected | Received) -> Entry | None:
    """The log entry an event carries; None for a hint, which only asks to look."""
    if isinstance(event, Connected) or event.name != "messageEvent":
        return None
    try:
        return entry(event.body["message"])
    except (BadAnswer, KeyError):
        return None
