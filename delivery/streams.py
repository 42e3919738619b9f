"""Replay from the log, then live: the one generator behind every kind of stream.

A stream keeps a position in each convo it follows and reads the log after it, so what was live and what
was replayed cannot differ, and there is nothing to lose or repeat at the seam. For one convo the cursor is
its ``seq``. For all convos of a device it is a transaction number below which every transaction has ended,
so that an entry whose transaction ends late is never stepped over; after a reconnection some entries may
come again, in order.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError

from catbird_mls.xrpc.errors import NotMember
from catbird_mls.xrpc.meters import BELL_LOSSES
from delivery.desk import Desk, Log, Look, Question, in_thread, newest_settled_transaction
from delivery.errors import FutureCursor
from delivery.hub import Hint, Listener, hub
from delivery.nudges import note_contact
from delivery.presence import presence
from delivery.selectors import Reader, Span, readable_spans

logger = logging.getLogger(__name__)

MESSAGE_EVENT, INFO_EVENT = "messageEvent", "infoEvent"
OUTDATED_CURSOR, STREAM_REPLACED, NOT_MEMBER = "OutdatedCursor", "StreamReplaced", "NotMember"
# How often a stream looks while no bell can ring, and how long it waits when the database does not answer.
DEAF_LOOK_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Event:
    """What a stream sends: its name in the lexicon, the cursor that stands after it, and its fields."""

    name: str
    cursor: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Follower:
    """Where one connection stands, and once it has ended, why."""

    reader: Reader
    cursor: str = "0"
    positions: dict[str, int] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    outdated: bool = False
    ending: str = ""

    def begin(self, log: Log, cursor: str | None) -> None:
        """Find the starting place of every convo; a cursor from the future is refused before the stream begins."""
        reader = self.reader
        self.spans = readable_spans(did=reader.did, device_id=reader.device_id, convo_id=reader.convo_id)
        if not self.spans and reader.convo_id is not None:
            raise NotMember
        ids = sorted({span.convo_id for span in self.spans})
        horizon = newest_settled_transaction()
        last = log.last_seqs(ids)
        now = last.get(reader.convo_id, 0) if reader.convo_id else horizon
        if cursor is None:
            self.positions = last
        elif int(cursor) > now:
            raise FutureCursor
        elif reader.convo_id is not None:
            self.positions = {reader.convo_id: int(cursor)}
        else:
            self.positions = log.seqs_before(ids, transaction=int(cursor))
        note_contact(did=reader.did, device_id=reader.device_id)
        self.cursor = cursor or str(now)
        self.outdated = bool(cursor) and int(self.cursor) > 0 and self._something_is_missing(log, last)

    def take(self, look: Look) -> list[Event]:
        """The events of a look, each with the cursor that stands after it; the next look begins behind them."""
        self.spans = look.spans
        self.positions |= look.positions
        events = []
        for entry in look.entries:
            if self.reader.convo_id is not None:
                self.cursor = str(entry.seq)
            elif entry is look.entries[-1] and not look.more:
                self.cursor = str(max(look.horizon, int(self.cursor)))
            events.append(Event(MESSAGE_EVENT, self.cursor, {"message": entry.view}))
        return events

    def hears(self, hint: Hint) -> bool:
        """Whether it is for this stream: of a convo the reader is in by now, and that the stream is about."""
        if hint.convo_id is not None:
            return any(span.convo_id == hint.convo_id and span.last_seq is None for span in self.spans)
        about = hint.fields.get("convoId")
        return about is None or self.reader.convo_id in {None, about}

    @property
    def convo_ids(self) -> list[str]:
        own = {self.reader.convo_id} if self.reader.convo_id else set()
        return sorted({span.convo_id for span in self.spans} | own)

    @property
    def finished(self) -> bool:
        """Whether nothing can come any more: the device is out of the convo it follows, and has read to its end."""
        if self.reader.convo_id is None:
            return False
        return all(
            span.last_seq is not None and self.positions.get(span.convo_id, 0) >= span.last_seq for span in self.spans
        )

    def _something_is_missing(self, log: Log, last: Mapping[str, int]) -> bool:
        """Whether entries after the cursor are no longer kept.

        In one convo the next place tells. Over all of them it is the place before the first entry that is left.
        """
        step = 0 if self.reader.convo_id is None else 1
        places = []
        for span in self.spans:
            place = max(self.positions.get(span.convo_id, 0) + step, span.first_seq)
            end = last.get(span.convo_id, 0) if span.last_seq is None else span.last_seq
            if place <= end - 1 + step:
                places.append((span.convo_id, place))
        return len(log.kept(places)) < len(set(places))


async def follow(follower: Follower, log: Log, desk: Desk) -> AsyncGenerator[Event | None, None]:
    """Every entry from the follower's place on, for as long as it may read, and what is hinted meanwhile.

    None is a sign of life; from the first one on no hint is missed while the bus is up. What was asked for
    and not answered yet is hinted again to whoever connects.
    """
    listener = Listener(follower.reader.did, follower.reader.device_id, follower.positions)
    try:
        hub.admit(listener)
        # Listening comes before looking, or what happens in between would be neither found nor heard.
        hub.listen(listener, follower.convo_ids)
        presence.begin(listener)
        await hub.settled()
        for hint in await in_thread(log.open_hints)(follower.convo_ids):
            listener.take(hint)
        yield None
        if follower.outdated:
            yield Event(INFO_EVENT, follower.cursor, {"info": OUTDATED_CURSOR})
        heard = True
        while not follower.finished and not listener.replaced:
            async for item in _turn(follower, desk, listener, heard=heard):
                yield item
            heard = listener.wake.is_set()
        follower.ending = STREAM_REPLACED if listener.replaced else NOT_MEMBER
        if listener.replaced:
            yield Event(INFO_EVENT, follower.cursor, {"info": STREAM_REPLACED})
    finally:
        hub.forget(listener)
        presence.end(listener)


async def _turn(follower: Follower, desk: Desk, listener: Listener, *, heard: bool) -> AsyncIterator[Event | None]:
    """What there is to tell, and then the wait for more."""
    listened_to = follower.convo_ids
    hub.listen(listener, listened_to)
    listener.wake.clear()
    # Taken before looking, so that nobody hears what was hinted after its membership had ended.
    hints = listener.drain()
    look = await _patient_look(desk, Question(follower.reader, follower.positions))
    if look.entries and not heard:
        BELL_LOSSES.labels("up" if hub.connected else "down").inc(len(look.entries))
    for event in follower.take(look):
        yield event
    for hint in hints:
        if follower.hears(hint):
            yield Event(hint.name, follower.cursor, hint.fields)
    # A convo that was opened meanwhile is not listened to yet.
    if look.more or follower.convo_ids != listened_to:
        listener.wake.set()
    elif not follower.finished:
        async for beat in _pause(listener.wake):
            yield beat


async def _patient_look(desk: Desk, question: Question) -> Look:
    """A database that is away for a while ends no stream."""
    while True:
        try:
            return await desk.look(question)
        except DatabaseError as error:
            logger.warning("stream could not look cause=%s", type(error).__name__)
            await asyncio.sleep(DEAF_LOOK_SECONDS)


async def _pause(wake: asyncio.Event) -> AsyncIterator[None]:
    """Wait for the bell, or for the time to look by oneself, with a sign of life now and then."""
    loop = asyncio.get_running_loop()
    seconds = settings.CATBIRD_STREAM_LOOK_SECONDS
    look_at = loop.time() + (seconds if hub.connected else min(seconds, DEAF_LOOK_SECONDS))
    while (left := look_at - loop.time()) > 0:
        try:
            async with asyncio.timeout(min(left, settings.CATBIRD_STREAM_HEARTBEAT_SECONDS)):
                await wake.wait()
        except TimeoutError:
            yield None
        else:
            return
