"""Application messages get their places a batch at a time: what arrives while one batch is written is the next.

There is no timer: under load batches grow by themselves, and a lone message waits for nobody. Every process may have
a sequencer; the order of a convo is kept by its row, not by them. The list is bounded in number and bytes.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, transaction

from catbird_mls.xrpc.errors import NotEnoughResources, NotMember, XrpcError
from catbird_mls.xrpc.meters import count_batch, count_refused_send, sends_in_flight
from catbird_mls.xrpc.pool import AsyncPool
from conversations.errors import ConvoNotFound, EpochMismatch, IdempotencyConflict
from delivery.services import announce_entries

BATCH_MAX = 64
BATCH_MAX_BYTES = 4 * 1024 * 1024
WAITING_MAX = 4096
WAITING_MAX_BYTES = 64 * 1024 * 1024

NEW, AGAIN, TWICE = "new", "again", "twice"
APPEND = """
SELECT place, outcome, seq, epoch, received_at, current_epoch
  FROM conversations_append_messages(
       %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bytea[], %s::bytea[], %s::boolean[], %s)
 ORDER BY place
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way into a log. ``fault`` is what to refuse it with once its sender is known to be a member."""

    convo_id: str
    did: str
    device_id: str | None
    msg_id: str
    epoch: int
    tag: bytes
    body: bytes
    fault: XrpcError | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands, and the epoch the convo is at."""

    msg_id: str
    seq: int
    epoch: int
    received_at: datetime
    current_epoch: int


Row = tuple[int, str, int, int, datetime, int]


class Sequencer:
    """Collects the messages of one event loop; ``batched`` or each alone, with the same outcome."""

    def __init__(self, pool: AsyncPool, *, batched: bool) -> None:
        self._pool = pool
        self._batched = batched
        self._mode = "batched" if batched else "single"
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None

    async def append(self, message: Outgoing) -> Place:
        """The message's place, durable when this returns; refusals are raised. Who stops waiting stops nothing."""
        if not self._batched:
            with sends_in_flight(self._mode):
                return await self._append_alone(message)
        if len(self._waiting) >= WAITING_MAX or self._bytes + len(message.body) > WAITING_MAX_BYTES:
            count_refused_send(self._mode)
            raise NotEnoughResources("Too many messages are waiting for their places; ask again in a moment.")
        one = _Waiting(message, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._bytes += len(message.body)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())
        with sends_in_flight(self._mode):
            return await one.place

    async def _write(self) -> None:
        while batch := self._take():
            began = perf_counter()
            try:
                rows = await self._execute([one.message for one in batch])
            except Exception as error:  # noqa: BLE001 - whatever failed, each message of the batch gets its own answer
                await self._write_one_by_one(batch, error)
            else:
                await self._settle(batch, rows)
            waits = [began - one.since for one in batch]
            count_batch(self._mode, len(batch), hold=perf_counter() - began, waits=waits)

    def _take(self) -> list["_Waiting"]:
        """The next batch; who has stopped waiting is left out of it."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH_MAX:
            size += len(self._waiting[0].message.body)
            if batch and size > BATCH_MAX_BYTES:
                break
            one = self._waiting.popleft()
            self._bytes -= len(one.message.body)
            if not one.place.done():
                batch.append(one)
        return batch

    async def _settle(self, batch: Sequence["_Waiting"], rows: Sequence[Row]) -> None:
        again = []
        for one, row in zip(batch, rows, strict=True):
            if row[1] == TWICE:
                again.append(one)
            else:
                one.settle(row)
        for one in again:
            await self._write_alone(one)

    async def _write_one_by_one(self, batch: Sequence["_Waiting"], error: Exception) -> None:
        """A message that cannot be written fails alone; a database that is gone fails all that wait at once."""
        if not isinstance(error, psycopg.OperationalError):
            for one in batch:
                await self._write_alone(one)
            return
        waiting = [*batch, *self._waiting]
        self._waiting.clear()
        self._bytes = 0
        for one in waiting:
            one.fail(NotEnoughResources("The database cannot be reached; ask again in a moment."))

    async def _write_alone(self, one: "_Waiting") -> None:
        try:
            (row,) = await self._execute([one.message])
        except Exception as error:  # noqa: BLE001 - the caller of this one message is told, nobody else
            one.fail(error)
        else:
            one.settle(row)

    async def _append_alone(self, message: Outgoing) -> Place:
        began = perf_counter()
        (row,) = await self._execute([message])
        count_batch(self._mode, 1, hold=perf_counter() - began, waits=[0.0])
        return _place(message, row)

    async def _execute(self, messages: Sequence[Outgoing]) -> Sequence[Row]:
        async with self._pool.connection() as held:
            cursor = await held.execute(APPEND, _columns(messages))
            rows: list[Row] = await cursor.fetchall()
        announce_entries(newest(messages, rows))
        return rows


@dataclass(eq=False, slots=True)
class _Waiting:
    message: Outgoing
    place: "asyncio.Future[Place]"
    since: float = field(default_factory=perf_counter)

    def settle(self, row: Row) -> None:
        try:
            place = _place(self.message, row)
        except XrpcError as refusal:
            self.fail(refusal)
        else:
            if not self.place.done():
                self.place.set_result(place)

    def fail(self, error: Exception) -> None:
        if not self.place.done():
            self.place.set_exception(error)


def append_alone(message: Outgoing) -> Place:
    """The same for a caller with a thread and a transaction of Django's; durable when this returns."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(APPEND, _columns([message]))
        rows: list[Row] = cursor.fetchall()
        entries = newest([message], rows)
        transaction.on_commit(lambda: announce_entries(entries), robust=True)
    return _place(message, rows[0])


def newest(messages: Sequence[Outgoing], rows: Sequence[Row]) -> dict[str, int]:
    """The last new entry of each convo."""
    return {message.convo_id: row[2] for message, row in zip(messages, rows, strict=True) if row[1] == NEW}


def _columns(messages: Sequence[Outgoing]) -> list[Any]:
    return [
        [one.convo_id for one in messages],
        [one.did for one in messages],
        [one.device_id for one in messages],
        [one.msg_id for one in messages],
        [one.epoch for one in messages],
        [one.tag for one in messages],
        [one.body for one in messages],
        [one.fault is not None for one in messages],
        settings.CATBIRD_EPOCH_WINDOW,
    ]


def _place(message: Outgoing, row: Row) -> Place:
    _, outcome, seq, epoch, received_at, current_epoch = row
    if outcome in {NEW, AGAIN}:
        return Place(message.msg_id, seq, epoch, received_at, current_epoch)
    raise _refusal(message, outcome, current_epoch)


def _refusal(message: Outgoing, outcome: str, current_epoch: int) -> XrpcError:
    if outcome == "ended":
        return ConvoNotFound("The conversation has ended.")
    if outcome == "clash":
        return IdempotencyConflict("This msgId stands for another message.", current_epoch=current_epoch)
    if outcome == "epoch":
        text = f"The message is of epoch {message.epoch}, the conversation is at {current_epoch}."
        return EpochMismatch(text, current_epoch=current_epoch)
    return message.fault if outcome == "suspect" and message.fault else NotMember()
