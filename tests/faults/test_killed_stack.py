"""What was acknowledged is delivered to every device, in order and without a gap, whatever is killed whenever."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import LazySettings

from catbird_mls import embedded
from tests.faults.stack import Reader, Talk, a_talk, rows
from tests.infra.conftest import data
from tests.infra.test_serve import Served

__all__ = ["data"]

SECRET = "known to the test and to the server it starts"
DEVICES = int(os.environ.get("CATBIRD_CROWD", "6"))
MESSAGES_A_SECOND = 60
VICTIMS = ("uvicorn", "worker", "valkey", "beat", "postgres", "uvicorn", "worker", "postgres", "valkey")
REST_SECONDS = (0.5, 2.5)
SETTLED_SECONDS = 300.0


@pytest.fixture
def served(data: Path, settings: LazySettings) -> "object":
    settings.JWT_SECRET = SECRET
    stack = Served(data, {"JWT_SECRET": SECRET, "CATBIRD_WEB_PROCESSES": "2", "CATBIRD_SWEEP_SECONDS": "1"})
    yield stack
    stack.end(signal.SIGTERM)


async def eventually(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(SETTLED_SECONDS):
        while not reached():
            await asyncio.sleep(0.2)


def kill(stack: Served, word: str) -> None:
    """One process of that kind, wherever in the family it is."""
    victims = [pid for pid in stack.family() if word in " ".join(_words(pid))]
    if victims:
        with suppress(ProcessLookupError):
            os.kill(random.choice(victims), signal.SIGKILL)  # noqa: S311 - any of them will do


def _words(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def signal_bus(stack: Served, signum: signal.Signals) -> None:
    for pid in stack.children("valkey"):
        os.kill(pid, signum)


async def a_bad_day(stack: Served, *, deaf: bool) -> tuple[Talk, list[Reader]]:
    """``deaf`` is without a bus that answers from the middle of it on."""
    talk = await a_talk(stack.url, DEVICES)
    readers = [Reader(caller, talk.id, websocket=number % 2 == 1) for number, caller in enumerate(talk.callers)]
    following = [asyncio.create_task(reader.follow()) for reader in readers]
    enough = asyncio.Event()
    talking = asyncio.create_task(talk.keep_talking(MESSAGES_A_SECOND, enough))
    for number, word in enumerate(VICTIMS):
        if deaf and number == len(VICTIMS) // 2:
            signal_bus(stack, signal.SIGSTOP)
        if deaf and number >= len(VICTIMS) // 2 and word == "valkey":
            continue
        await asyncio.sleep(random.uniform(*REST_SECONDS))  # noqa: S311 - any moment will do
        await asyncio.to_thread(kill, stack, word)
    await asyncio.sleep(REST_SECONDS[1])
    enough.set()
    async with asyncio.timeout(SETTLED_SECONDS):
        await talking
    last = max(talk.acknowledged.values())
    try:
        await eventually(lambda: all(reader.seqs and max(reader.seqs) >= last for reader in readers))
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        for caller in talk.callers:
            await caller.client.aclose()
        signal_bus(stack, signal.SIGCONT)
    return talk, readers


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("deaf", [False, True], ids=["bus", "no bus"])
def test_nothing_acknowledged_is_lost_whatever_is_killed(served: Served, deaf: bool) -> None:
    talk, readers = asyncio.run(a_bad_day(served, deaf=deaf))
    database = embedded.addresses(served.data).database_url
    log = rows(database, "SELECT seq, msg_id FROM conversations_message WHERE convo_id = %s ORDER BY seq", talk.id)
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
    kept = {msg_id: seq for seq, msg_id in log}
    assert {msg_id: kept.get(msg_id) for msg_id in talk.acknowledged} == talk.acknowledged
    for reader in readers:
        assert list(dict.fromkeys(reader.seqs)) == sorted(set(reader.seqs)), "a stream went back without being told to"
        # The founder is told the commit that let the others in, too.
        assert set(range(2, len(log) + 1)) <= set(reader.seqs)
    assert max(reader.connections for reader in readers) > 1

    def carried() -> bool:
        waiting = rows(database, "SELECT count(*) FROM delivery_dispatch WHERE convo_id = %s", talk.id)
        return waiting == [(0,)]

    asyncio.run(eventually(carried))
    envelopes = rows(database, "SELECT device_id, last_seq FROM delivery_envelope WHERE convo_id = %s", talk.id)
    assert dict(envelopes) == {caller.phone.device_id: len(log) for caller in talk.callers}
