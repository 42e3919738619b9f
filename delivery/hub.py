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

logger = logging.getLogger(__name__)

BELL = "catbird.bell"
HINTS = "catbird.hints"
HINTS_KEPT = 100
SOCKET_TIMEOUT_SECONDS = 1.0
RETRY_SECONDS = 1.0

_ringer: redis.Redis | None = None


def ring(key: str, seq: int) -> None:
    """Tell every process that a convo has a new entry, or an account a new convo.

    A bus that is down is logged and forgotten.
    """
    try:
        _connection().publish(BELL, f"{key} {seq}")
    except redis.RedisError as error:
        logger.warning("bell not rung key=%s seq=%s cause=%s", key, seq, type(error).__name__)


def announce(hint: "Hint") -> None:
    """Tell every process; like the bell, it may be lost."""
    try:
        _connection().publish(HINTS, orjson.dumps(asdict(hint)))
    except redis.RedisError as error:
        logger.warning("hint not told name=%s cause=%s", hint.name, type(error).__name__)


def _connection() -> redis.Redis:
    global _ringer
    if _ringer is None:
        _ringer = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        )
    return _ringer


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
    """One connection: what wakes it, and the hints it has not told yet, of which only the newest are kept."""

    did: str
    device_id: str | None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    keys: set[str] = field(default_factory=set)
    hints: deque[Hint] = field(default_factory=lambda: deque(maxlen=HINTS_KEPT))

    def take(self, hint: Hint) -> None:
        if hint.not_for == self.did or (hint.device_id and self.device_id not in {None, hint.device_id}):
            return
        self.hints.append(hint)
        self.wake.set()


class Hub:
    """Wakes the listeners in this process when a convo's bell rings, or something is hinted."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

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
            self._connected.clear()
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscribed(self) -> None:
        async with (
            redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=SOCKET_TIMEOUT_SECONDS) as bus,
            bus.pubsub(ignore_subscribe_messages=True) as subscription,
        ):
            await subscription.subscribe(BELL, HINTS)
            self._connected.set()
            self._wake_all()
            async for message in subscription.listen():
                self._hear(bytes(message["channel"]).decode(), bytes(message["data"]))

    def _hear(self, channel: str, data: bytes) -> None:
        if channel == BELL:
            for listener in self._listeners.get(data.partition(b" ")[0].decode(), ()):
                listener.wake.set()
        else:
            hint = Hint(**orjson.loads(data))
            for listener in self._listeners.get(hint.convo_id or hint.did or "", ()):
                listener.take(hint)

    def _wake_all(self) -> None:
        # What rang while nobody was subscribed is found by looking once.
        for waiting in self._listeners.values():
            for listener in waiting:
                listener.wake.set()


hub = Hub()
