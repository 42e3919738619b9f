"""Replay from the log, then live: the one generator behind every kind of stream.

A stream keeps a position in each convo it follows and reads the log after it, so what was live and what
was replayed cannot differ, and there is nothing to lose or repeat at the seam. For one convo the cursor is
its ``seq``. For all convos of a device it is a transaction number below which every transaction has ended,
so that an entry whose transaction ends late is never stepped over; after a reconnection some entries may
come again, in order.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections, connection

from delivery.errors import FutureCursor
from delivery.hub import Hint, Listener, hub
from delivery.selectors import Span, readable_spans

PAGE_ENTRIES = 100
MESSAGE_EVENT = "messageEvent"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    convo_id: str
    seq: int
    view: Mapping[str, Any]


class Log(Protocol):
    """What delivery needs of the log it carries; the wiring hands it over, so that no arrow points back."""

    def entries(self, *, convo_id: str, after: int, until: int | None, limit: int) -> Sequence[Entry]: ...

    def last_seqs(self, convo_ids: Sequence[str]) -> dict[str, int]: ...

    def seqs_before(self, convo_ids: Sequence[str], *, transaction: int) -> dict[str, int]: ...

    def open_hints(self, convo_ids: Sequence[str]) -> Sequence[Hint]: ...


@dataclass(frozen=True, slots=True)
class Event:
    """What a stream sends: its name in the lexicon, the cursor that stands after it, and its fields."""

    name: str
    cursor: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Follower:
    """Where one connection stands."""

    log: Log
    did: str
    device_id: str | None
    convo_id: str | None
    cursor: str = "0"
    positions: dict[str, int] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    def begin(self, cursor: str | None) -> None:
        """Find the starting place of every convo; a cursor from the future is refused before the stream begins."""
        self.spans = readable_spans(did=self.did, device_id=self.device_id, convo_id=self.convo_id)
        ids = sorted({span.convo_id for span in self.spans})
        last = self.log.last_seqs(ids)
        horizon = _horizon()
        if cursor is None:
            self.positions = last
        elif self.convo_id is not None:
            if int(cursor) > last.get(self.convo_id, 0):
                raise FutureCursor
            self.positions = {self.convo_id: int(cursor)}
        else:
            if int(cursor) > horizon:
                raise FutureCursor
            self.positions = self.log.seqs_before(ids, transaction=int(cursor))
        self.cursor = cursor or str(self.positions.get(self.convo_id or "", 0) if self.convo_id else horizon)

    def read(self) -> tuple[list[Event], bool]:
        """The next entries, each with the cursor that stands after it, and whether there may be more."""
        horizon = _horizon()
        self.spans = readable_spans(did=self.did, device_id=self.device_id, convo_id=self.convo_id)
        found: list[Entry] = []
        more = False
        for span in self.spans:
            page = self._page(span)
            more = more or len(page) == PAGE_ENTRIES
            found.extend(page)
        return self._numbered(found, horizon, more=more), more

    @property
    def convo_ids(self) -> list[str]:
        return sorted({span.convo_id for span in self.spans} | ({self.convo_id} if self.convo_id else set()))

    @property
    def finished(self) -> bool:
        """Whether nothing can come any more: the device is out of every convo it follows."""
        if self.convo_id is None:
            return False
        return all(
            span.last_seq is not None and self.positions.get(span.convo_id, 0) >= span.last_seq for span in self.spans
        )

    def _page(self, span: Span) -> Sequence[Entry]:
        after = max(self.positions.get(span.convo_id, 0), span.first_seq - 1)
        page = self.log.entries(convo_id=span.convo_id, after=after, until=span.last_seq, limit=PAGE_ENTRIES)
        if page:
            self.positions[span.convo_id] = page[-1].seq
        return page

    def _numbered(self, found: list[Entry], horizon: int, *, more: bool) -> list[Event]:
        numbered = []
        for entry in found:
            last = entry is found[-1]
            if self.convo_id is not None:
                self.cursor = str(entry.seq)
            elif last and not more:
                self.cursor = str(max(horizon, int(self.cursor)))
            numbered.append(Event(MESSAGE_EVENT, self.cursor, {"message": entry.view}))
        return numbered


async def follow(follower: Follower) -> AsyncGenerator[Event | None, None]:
    """Every entry from the follower's place on, for as long as it may read, and what is hinted meanwhile.

    None is a sign of life; from the first one on no hint is missed while the bus is up. What was asked for
    and not answered yet is hinted again to whoever connects.
    """
    listener = Listener(follower.did, follower.device_id)
    try:
        # Listening comes before looking, or what happens in between would be neither found nor heard.
        hub.listen(listener, follower.convo_ids)
        await hub.settled()
        for hint in await in_thread(follower.log.open_hints)(follower.convo_ids):
            listener.take(hint)
        yield None
        while not follower.finished:
            async for item in _turn(follower, listener):
                yield item
    finally:
        hub.forget(listener)


async def _turn(follower: Follower, listener: Listener) -> AsyncIterator[Event | None]:
    """What there is to tell, and then the wait for more."""
    heard = follower.convo_ids
    hub.listen(listener, heard)
    listener.wake.clear()
    events, more = await in_thread(follower.read)()
    while listener.hints:
        hint = listener.hints.popleft()
        events.append(Event(hint.name, follower.cursor, hint.fields))
    for event in events:
        yield event
    # A convo that was opened meanwhile is not listened to yet.
    if not more and not follower.finished and follower.convo_ids == heard:
        async for beat in _pause(listener.wake):
            yield beat


async def _pause(wake: asyncio.Event) -> AsyncIterator[None]:
    """Wait for the bell, or for the time to look by oneself, with a sign of life now and then."""
    loop = asyncio.get_running_loop()
    look_at = loop.time() + settings.CATBIRD_STREAM_LOOK_SECONDS
    while (left := look_at - loop.time()) > 0:
        try:
            await asyncio.wait_for(wake.wait(), min(left, settings.CATBIRD_STREAM_HEARTBEAT_SECONDS))
        except TimeoutError:
            yield None
        else:
            return


def in_thread(work: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run database work off the event loop and give its connection back at once."""

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        finally:
            close_old_connections()

    return sync_to_async(run, thread_sensitive=False)


def _horizon() -> int:
    """The newest transaction number with everything up to it ended."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1")
        row = cursor.fetchone()
    return int(row[0])
