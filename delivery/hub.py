"""The bell: one bus subscription a process, one wake-up a connection.

A ring of the bell is ``convo_id seq`` and nothing else; an account is rung for like a convo when it comes
into one. It may be lost or doubled without harm, because a listener looks into the log by itself at
intervals. Hints are not in any log and travel beside it.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from delivery.courier import BELL, HINTS, courier

logger = logging.getLogger(__name__)

HINTS_KEPT = 100
STREAMS_A_DEVICE = 5
SOCKET_TIMEOUT_SECONDS = 1.0
RETRY_SECONDS = 1.0
SILENCE_SECONDS = 5.0


def ring(key: str, seq: int) -> None:
    """Tell every process that a convo has a new entry, or an account a new convo; may be lost."""
    courier.ring(key, seq)


def announce(hint: "Hint") -> None:
    """Tell every process; like the bell, it may be lost."""
    courier.announce(orjson.dumps(asdict(hint)))


@dataclass(frozen=True, slots=True)
class Hint:
    """Something that is not an entry of any log: told to whoever is connected, and to nobody later."""

    name: str
    fields: Mapping[str, Any]
    convo_id: str | None = None
    did: str | None = None
    device_id: str | None = None
    not_for: str | None = None


@dataclass(eq=False, slots=True)
class Listener:
    """One connection: what wakes it, and the hints it has not told yet, of which only the newest are kept.

    ``positions`` are its reader's own, so that a ring for what it has read already wakes nobody.
    """

    did: str
    device_id: str | None
    positions: Mapping[str, int] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    keys: set[str] = field(default_factory=set)
    hints: deque[Hint] = field(default_factory=lambda: deque(maxlen=HINTS_KEPT))
    replaced: bool = False

    def hear(self, key: str, seq: int) -> None:
        if seq == 0 or seq > self.positions.get(key, -1):
            self.wake.set()

    def take(self, hint: Hint) -> None:
        if hint.not_for == self.did or (hint.device_id and self.device_id not in {None, hint.device_id}):
            return
        self.hints.append(hint)
        self.wake.set()

    def drain(self) -> list[Hint]:
        hints = list(self.hints)
        self.hints.clear()
        return hints


class Hub:
    """Wakes the listeners in this process when a convo's bell rings, or something is hinted."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}
        self._open: dict[tuple[str, str | None], list[Listener]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

    def admit(self, listener: Listener) -> None:
        """A device has few streams at a time: the newest are kept, because it is them that somebody reads."""
        mine = self._open.setdefault((listener.did, listener.device_id), [])
        mine.append(listener)
        for old in mine[:-STREAMS_A_DEVICE]:
            mine.remove(old)
            old.replaced = True
            old.wake.set()

    def listen(self, listener: Listener, convo_ids: Iterable[str]) -> None:
        """From now on the listener hears of these convos and of its account, and of nothing else."""
        keys = {*convo_ids, listener.did}
        for key in listener.keys - keys:
            self._drop(key, listener)
        for key in keys - listener.keys:
            self._listeners.setdefault(key, set()).add(listener)
        listener.keys = keys
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    def forget(self, listener: Listener) -> None:
        for key in listener.keys:
            self._drop(key, listener)
        listener.keys = set()
        device = (listener.did, listener.device_id)
        left = [other for other in self._open.pop(device, []) if other is not listener]
        if left:
            self._open[device] = left

    async def settled(self) -> None:
        """Wait until the bus is heard, but not long: while it is down, streams look by themselves."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), SOCKET_TIMEOUT_SECONDS)

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def _drop(self, key: str, listener: Listener) -> None:
        waiting = self._listeners.get(key, set())
        waiting.discard(listener)
        if not waiting:
            self._listeners.pop(key, None)

    async def _follow(self) -> None:
        while True:
            try:
                await self._subscribed()
            except (redis.RedisError, OSError) as error:
                logger.warning("bell lost cause=%s", type(error).__name__)
            if self.connected:
                self._connected.clear()
                # Without the bell everybody looks more often, beginning now.
                self._wake_all()
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscribed(self) -> None:
        async with (
            # A connection that is lost has to be seen, so nothing below may restore it in silence.
            redis.asyncio.Redis.from_url(
                settings.REDIS_URL, socket_connect_timeout=SOCKET_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0)
            ) as bus,
            bus.pubsub() as subscription,
        ):
            await subscription.subscribe(BELL, HINTS)
            # What rang while nobody was subscribed is found by looking once.
            self._connected.set()
            self._wake_all()
            await self._hear_all(subscription)

    async def _hear_all(self, subscription: redis.asyncio.client.PubSub) -> None:
        """Until the bus is lost, or is so silent that it does not answer when asked."""
        asked = False
        while True:
            message = await subscription.get_message(timeout=SILENCE_SECONDS)
            if message is not None:
                asked = False
                if message["type"] == "message":
                    self._hear(bytes(message["channel"]).decode(), bytes(message["data"]))
            elif asked:
                raise redis.TimeoutError("the bus does not answer")
            else:
                asked = True
                await subscription.ping()

    def _hear(self, channel: str, data: bytes) -> None:
        if channel == BELL:
            key, _, seq = data.decode().rpartition(" ")
            for listener in self._listeners.get(key, ()):
                listener.hear(key, int(seq))
        else:
            hint = Hint(**orjson.loads(data))
            for listener in self._listeners.get(hint.convo_id or hint.did or "", ()):
                listener.take(hint)

    def _wake_all(self) -> None:
        for waiting in self._listeners.values():
            for listener in waiting:
                listener.wake.set()


hub = Hub()
