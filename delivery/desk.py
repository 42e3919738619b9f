"""Where streams read: those that are woken in one moment share the questions they have.

A bell that rings for a thousand streams costs a few queries and one copy of the entry, and streams that wait
hold neither a thread nor a connection.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection

from delivery.hub import Hint
from delivery.selectors import Reader, Span, spans_of

PAGE_ENTRIES = 100
PAGE_MAX_BYTES = 1024 * 1024
DESKS = 4
SHARED_MAX = 500

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    convo_id: str
    seq: int
    size: int
    view: dict[str, Any]


class Log(Protocol):
    """What delivery needs of the log it carries; the wiring hands it over, so that no arrow points back."""

    def entries(self, *, convo_id: str, after: int, until: int, limit: int, most: int) -> Sequence[Entry]:
        """The next entries, at least one if there is any, else as many as ``most`` bytes and ``limit`` allow."""
        ...

    def last_seqs(self, convo_ids: Sequence[str]) -> dict[str, int]: ...

    def seqs_before(self, convo_ids: Sequence[str], *, transaction: int) -> dict[str, int]: ...

    def kept(self, places: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of these places of logs whose entry is there."""
        ...

    def open_hints(self, convo_ids: Sequence[str]) -> Sequence[Hint]: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What one moment shows a reader: a page of what is new to it, how far that takes it, and whether there is more."""

    horizon: int
    spans: list[Span]
    entries: list[Entry]
    positions: dict[str, int]
    more: bool


@dataclass(frozen=True, slots=True)
class Question:
    reader: Reader
    positions: dict[str, int]


class Desk:
    """Answers questions, all that wait at once."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: list[tuple[Question, asyncio.Future[Look]]] = []
        self._serving = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self, question: Question) -> Look:
        answer: asyncio.Future[Look] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._serving < DESKS:
            self._serving += 1
            # The loop itself would let go of a task that nobody holds.
            task = asyncio.create_task(self._serve())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _serve(self) -> None:
        try:
            # Whoever was woken by the same ring comes before this goes on.
            await asyncio.sleep(0)
            while self._waiting:
                batch, self._waiting = self._waiting[:SHARED_MAX], self._waiting[SHARED_MAX:]
                await self._answer(batch)
        finally:
            self._serving -= 1

    async def _answer(self, batch: Sequence[tuple[Question, asyncio.Future[Look]]]) -> None:
        asked = [(question, answer) for question, answer in batch if not answer.done()]
        reading = in_thread(look_at)(self._log, [question for question, _ in asked])
        outcomes: Sequence[list[Look] | BaseException] = await asyncio.gather(reading, return_exceptions=True)
        outcome = outcomes[0]
        for number, (_, answer) in enumerate(asked):
            if answer.done():
                continue
            if isinstance(outcome, BaseException):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome[number])


def look_at(log: Log, questions: Sequence[Question]) -> list[Look]:
    """Answer each question as of one moment: its membership, and a page of what lies behind its positions."""
    # Before anything is read: an entry that is missing below was written by a later transaction.
    horizon = newest_settled_transaction()
    spans = spans_of(question.reader for question in questions)
    last = log.last_seqs(sorted({span.convo_id for mine in spans.values() for span in mine}))
    book = _Book(log, last, {})
    return [_look(book, question, spans[question.reader], horizon) for question in questions]


@dataclass(slots=True)
class _Book:
    """The logs as one batch of questions reads them: each page once."""

    log: Log
    last: dict[str, int]
    pages: dict[tuple[str, int, int], Sequence[Entry]]

    def page(self, convo_id: str, after: int, until: int) -> Sequence[Entry]:
        place = (convo_id, after, until)
        if place not in self.pages:
            self.pages[place] = self.log.entries(
                convo_id=convo_id, after=after, until=until, limit=PAGE_ENTRIES, most=PAGE_MAX_BYTES
            )
        return self.pages[place]


def _look(book: _Book, question: Question, spans: list[Span], horizon: int) -> Look:
    entries: list[Entry] = []
    positions: dict[str, int] = {}
    unfinished: set[str] = set()
    left = PAGE_MAX_BYTES
    for span in spans:
        after = max(positions.get(span.convo_id, question.positions.get(span.convo_id, 0)), span.first_seq - 1)
        end = book.last.get(span.convo_id, 0)
        until = end if span.last_seq is None else min(end, span.last_seq)
        if after >= until or span.convo_id in unfinished:
            continue
        page = book.page(span.convo_id, after, until) if left > 0 else ()
        # Places that are empty to the end of the span stay empty.
        positions[span.convo_id] = page[-1].seq if page else until if left > 0 else after
        if positions[span.convo_id] < until:
            unfinished.add(span.convo_id)
        entries.extend(page)
        left -= sum(entry.size for entry in page)
    return Look(horizon, spans, entries, positions, bool(unfinished))


def in_thread(work: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run database work off the event loop and give its connection back at once."""

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        finally:
            close_old_connections()

    return sync_to_async(run, thread_sensitive=False)


def newest_settled_transaction() -> int:
    """The newest transaction number with everything up to it ended."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1")
        row = cursor.fetchone()
    return int(row[0])
