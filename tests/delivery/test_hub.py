"""The bell: few wake-ups, whatever rings, and a bus that goes and comes back."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from django.conf import LazySettings, settings

from catbird_mls import embedded
from delivery.courier import BELL, HINTS, Courier
from delivery.hub import Hub, Listener
from tests.delivery.streaming import Open, open_sse, open_websocket, send, seqs
from tests.delivery.test_courier import PATIENCE_SECONDS, courier
from tests.devices import ALICE, BOB, Phone
from tests.infra.conftest import data
from tests.live import Web, web
from tests.situations import a_convo

__all__ = ["courier", "data"]

RINGS = 10_000


def run(work: Coroutine[Any, Any, None]) -> None:
    async def within_patience() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await work
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(within_patience())


async def flood(seqs: Callable[[int], int]) -> int:
    """Ring ten thousand times for one convo, and say how often its listener wakes to look for a millisecond."""
    hub, listener, woken = Hub(), Listener("did:plc:a", None), 0
    hub.listen(listener, ["convo"])
    await hub.settled()

    async def look() -> None:
        nonlocal woken
        while True:
            await listener.wake.wait()
            listener.wake.clear()
            woken += 1
            await asyncio.sleep(0.001)

    looking = asyncio.create_task(look())
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as bus, bus.pipeline(transaction=False) as pipe:
        for number in range(RINGS):
            pipe.publish(BELL, f"convo {seqs(number)}")
        await pipe.execute()
    listener.wake.clear()
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as bus:
        await bus.publish(HINTS, b'{"name": "end", "fields": {}, "did": "did:plc:a"}')
    while not listener.hints:
        await asyncio.sleep(0.01)
    looking.cancel()
    return woken


def test_ten_thousand_rings_wake_a_listener_few_times() -> None:
    async def check() -> None:
        assert 1 <= await flood(lambda number: number + 1) < RINGS / 10

    run(check())


def test_rings_for_what_was_read_wake_nobody() -> None:
    listener = Listener("did:plc:a", None, {"convo": 5})
    for seq in (1, 5):
        listener.hear("convo", seq)
    assert not listener.wake.is_set()
    for key, seq in (("convo", 6), ("convo", 0), ("did:plc:a", 0), ("another", 1)):
        listener.wake.clear()
        listener.hear(key, seq)
        assert listener.wake.is_set()


def test_a_hub_forgets_who_has_gone() -> None:
    async def check() -> None:
        hub = Hub()
        listeners = [Listener("did:plc:a", "phone") for _ in range(7)]
        for listener in listeners:
            hub.admit(listener)
            hub.listen(listener, ["one", "two"])
        assert [listener.replaced for listener in listeners] == [True, True, *[False] * 5]
        hub.listen(listeners[6], ["two"])
        for listener in listeners:
            hub.forget(listener)
        assert (hub._listeners, hub._open) == ({}, {})

    run(check())


@pytest.fixture
def own_bus(data: Path) -> Iterator["Valkey"]:
    valkey = Valkey(data)
    valkey.start()
    yield valkey
    valkey.stop()


class Valkey:
    """A bus of the test's own, to be killed."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.running: embedded.Running | None = None

    @property
    def url(self) -> str:
        return embedded.addresses(self.data).redis_url

    def start(self) -> None:
        self.running = embedded.start(self.data, postgres=False)

    def stop(self) -> None:
        if self.running:
            self.running.stop()

    def kill(self) -> None:
        assert self.running
        for _, process in self.running.started:
            process.kill()
            process.wait()
        self.running.started.clear()


@pytest.fixture
def deaf_server(own_bus: Valkey, settings: LazySettings) -> Iterator[Web]:
    """A server whose streams look by themselves only when they know that no bell can ring."""
    with web(REDIS_URL=own_bus.url, CATBIRD_STREAM_LOOK_SECONDS="600", CATBIRD_STREAM_HEARTBEAT_SECONDS="1") as running:
        settings.REDIS_URL = own_bus.url
        yield running


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("opened", [open_sse, open_websocket], ids=["sse", "websocket"])
def test_streams_outlive_the_bus_and_lose_nothing(
    deaf_server: Web, own_bus: Valkey, courier: Courier, monkeypatch: pytest.MonkeyPatch, opened: Open
) -> None:
    monkeypatch.setattr("delivery.services.courier", courier)
    monkeypatch.setattr("delivery.hub.courier", courier)
    talk = a_convo(Phone(ALICE), Phone(BOB))
    with opened(deaf_server, by=BOB, convoId=talk.id) as found:
        assert next(found) is None
        send(talk, "by the bell")
        assert seqs(found, 1) == [2]
        own_bus.kill()
        for number in range(20):
            send(talk, f"while the bus is down {number}")
        assert seqs(found, 20) == list(range(3, 23))
        own_bus.start()
        assert courier.settle(PATIENCE_SECONDS)
        for number in range(5):
            send(talk, f"after {number}")
        assert seqs(found, 5) == list(range(23, 28))
