"""The bell: one bus subscription a process, one wake-up a connection.

A message on the bus is ``convo_id seq`` and nothing else. It may be lost or doubled without harm, because
a listener looks into the log by itself at intervals.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator

import redis
import redis.asyncio
from django.conf import settings

logger = logging.getLogger(__name__)

CHANNEL = "catbird.bell"
SOCKET_TIMEOUT_SECONDS = 1.0
RETRY_SECONDS = 1.0

_ringer: redis.Redis | None = None


def ring(convo_id: str, seq: int) -> None:
    """Tell every process that a convo has a new entry; a bus that is down is logged and forgotten."""
    try:
        _connection().publish(CHANNEL, f"{convo_id} {seq}")
    except redis.RedisError as error:
        logger.warning("bell not rung convo=%s seq=%s cause=%s", convo_id, seq, type(error).__name__)


def _connection() -> redis.Redis:
    global _ringer
    if _ringer is None:
        _ringer = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        )
    return _ringer


class Hub:
    """Wakes the listeners of a convo in this process when its bell rings."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self.connected = False

    @contextlib.contextmanager
    def listening(self, convo_ids: Iterable[str], wake: asyncio.Event) -> Iterator[None]:
        """While inside, ``wake`` is set whenever one of these convos has something new."""
        convos = set(convo_ids)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())
        for convo_id in convos:
            self._listeners.setdefault(convo_id, set()).add(wake)
        try:
            yield
        finally:
            for convo_id in convos:
                self._drop(convo_id, wake)

    def _drop(self, convo_id: str, wake: asyncio.Event) -> None:
        waiting = self._listeners.get(convo_id, set())
        waiting.discard(wake)
        if not waiting:
            self._listeners.pop(convo_id, None)

    async def _follow(self) -> None:
        while True:
            try:
                await self._subscribed()
            except (redis.RedisError, OSError) as error:
                logger.warning("bell lost cause=%s", type(error).__name__)
            self.connected = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _subscribed(self) -> None:
        async with (
            redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=SOCKET_TIMEOUT_SECONDS) as bus,
            bus.pubsub(ignore_subscribe_messages=True) as subscription,
        ):
            await subscription.subscribe(CHANNEL)
            self.connected = True
            self._wake_all()
            async for message in subscription.listen():
                convo_id = bytes(message["data"]).partition(b" ")[0].decode()
                for wake in self._listeners.get(convo_id, ()):
                    wake.set()

    def _wake_all(self) -> None:
        # What rang while nobody was subscribed is found by looking once.
        for waiting in self._listeners.values():
            for wake in waiting:
                wake.set()


hub = Hub()
