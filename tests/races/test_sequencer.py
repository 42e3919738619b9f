"""Messages that arrive together get one place each, whatever becomes of their neighbours; in both modes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from uuid import uuid4

import psycopg
import pytest

from catbird_mls.xrpc.errors import NotEnoughResources, NotMember
from catbird_mls.xrpc.pool import new_pool
from conversations import sequencer as module
from conversations.errors import EpochMismatch, IdempotencyConflict
from conversations.models import Message
from conversations.selectors import Asking
from conversations.sequencer import Outgoing, Place, Sequencer
from conversations.services.messages import outgoing
from delivery.models import Dispatch
from tests.devices import ALICE, BOB, MALLORY, Phone
from tests.situations import Talk, a_convo

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.parametrize("batched", [True, False])]


@asynccontextmanager
async def opened(*, batched: bool) -> AsyncIterator[Sequencer]:
    pool = new_pool()
    await pool.open()
    try:
        yield Sequencer(pool, batched=batched)
    finally:
        await pool.close()


def run(work: Callable[[Sequencer], Awaitable[Any]], *, batched: bool) -> Any:
    async def main() -> Any:
        async with opened(batched=batched) as sequencer:
            return await work(sequencer)

    return asyncio.run(main())


def together(*messages: Outgoing) -> Callable[[Sequencer], Coroutine[Any, Any, list[Place | BaseException]]]:
    async def work(sequencer: Sequencer) -> list[Place | BaseException]:
        return await asyncio.gather(*(sequencer.append(one) for one in messages), return_exceptions=True)

    return work


def message(talk: Talk, *, by: str = ALICE, msg_id: str = "", epoch: int | None = None, body: bytes = b"x") -> Outgoing:
    at = talk.convo.epoch if epoch is None else epoch
    return outgoing(convo_id=talk.id, who=Asking(by), msg_id=msg_id or uuid4().hex, epoch=at, ciphertext=body)


def test_every_message_gets_a_place_and_no_place_two(batched: bool) -> None:
    talks = [a_convo(Phone(ALICE), Phone(BOB)) for _ in range(3)]
    messages = [message(talk) for _ in range(70) for talk in talks]
    places = run(together(*messages), batched=batched)
    for talk in talks:
        got = [place.seq for one, place in zip(messages, places, strict=True) if one.convo_id == talk.id]
        assert sorted(got) == list(range(2, 72))
        assert talk.convo.last_seq == 71
        stored = Message.objects.filter(convo_id=talk.id, kind="app").order_by("seq").values_list("seq", "msg_id")
        told = {
            (place.seq, place.msg_id) for one, place in zip(messages, places, strict=True) if one.convo_id == talk.id
        }
        assert set(stored) == told
        assert Dispatch.objects.filter(convo_id=talk.id, seq__gt=1).count() == 70


def test_refusals_are_each_ones_own(batched: bool) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    first = message(talk, msg_id="m1")
    places = run(
        together(
            first,
            message(talk, by=MALLORY, msg_id="m1"),
            message(talk, epoch=7),
            first,
            message(talk, msg_id="m1", body=b"another"),
            message(talk, msg_id="bad\0id"),
            message(talk, msg_id="m2"),
        ),
        batched=batched,
    )
    kinds = [type(place) for place in places]
    assert kinds[1:3] == [NotMember, EpochMismatch]
    assert isinstance(places[5], Exception)
    assert {places[0].seq, places[6].seq} == {2, 3}
    # Without batches any of the three that share an id may be the first.
    assert IdempotencyConflict in kinds
    assert Message.objects.filter(convo_id=talk.id).count() == 3


def test_the_same_message_twice_in_one_batch_is_one_entry(batched: bool) -> None:
    talk = a_convo(Phone(ALICE))
    same = message(talk)
    places = run(together(*[same] * 20), batched=batched)
    assert {(place.seq, place.received_at) for place in places} == {(1, places[0].received_at)}
    assert Message.objects.count() == 1


def test_who_stops_waiting_stops_nobody_else(batched: bool) -> None:
    talk = a_convo(Phone(ALICE))

    async def work(sequencer: Sequencer) -> list[Place]:
        tasks = [asyncio.ensure_future(sequencer.append(message_)) for message_ in messages]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return [one for one in done if isinstance(one, Place)]

    messages = [message(talk) for _ in range(30)]
    places = run(work, batched=batched)
    assert len(places) == 20
    kept = list(Message.objects.order_by("seq").values_list("seq", flat=True))
    assert kept == list(range(1, len(kept) + 1))
    assert {place.seq for place in places} <= set(kept)


def test_past_its_bounds_it_says_so(batched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX_BYTES", 1000)
    talk = a_convo(Phone(ALICE))
    places = run(together(*[message(talk, body=b"x" * 300) for _ in range(8)]), batched=batched)
    refused = [place for place in places if isinstance(place, NotEnoughResources)]
    assert len(refused) == (5 if batched else 0)
    assert Message.objects.count() == 8 - len(refused)


def test_a_database_that_is_gone_is_told_to_all_who_wait(batched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = a_convo(Phone(ALICE))
    messages = [message(talk) for _ in range(200)]

    async def gone(_: Sequence[Outgoing]) -> NoReturn:
        await asyncio.sleep(0.05)
        raise psycopg.OperationalError("gone")

    async def work(sequencer: Sequencer) -> list[Place | BaseException]:
        monkeypatch.setattr(sequencer, "_execute", gone)
        return await together(*messages)(sequencer)

    answers = run(work, batched=batched)
    expected = NotEnoughResources if batched else psycopg.OperationalError
    assert {type(answer) for answer in answers} == {expected}
    assert not Message.objects.exists()
