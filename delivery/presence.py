"""Which devices have a stream open: said by the web processes to the bus, asked by whoever would push.

While the bus is down nobody is known to be connected, so that there is a push too many rather than one too few.
A web process that is killed is believed for a few heartbeats more.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from delivery.hub import Listener

logger = logging.getLogger(__name__)

Device = tuple[str, str]

HERE = "catbird:here"
PATIENCE_SECONDS = 1
HEARTBEATS_BELIEVED = 3


def believed() -> timedelta:
    """How long after its last sign of life a stream is taken for open."""
    return timedelta(seconds=HEARTBEATS_BELIEVED * settings.CATBIRD_STREAM_HEARTBEAT_SECONDS)


def connected(devices: Iterable[Device]) -> set[Device]:
    """Those of these devices that have a stream open, in whatever process."""
    asked = list(devices)
    if not asked:
        return set()
    once, wait = Retry(NoBackoff(), 0), PATIENCE_SECONDS
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=wait, socket_connect_timeout=wait, retry=once
        ) as bus:
            answers = bus.mget([_key(device) for device in asked])
    except redis.RedisError as error:
        logger.warning("presence not asked cause=%s", type(error).__name__)
        return set()
    return {device for device, answer in zip(asked, answers, strict=True) if answer is not None}


class Presence:
    """Says for all streams of this process that they are open: at once, and then at every heartbeat."""

    def __init__(self) -> None:
        self._open: Counter[Device] = Counter()
        self._changed: set[Device] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, listener: Listener) -> None:
        """A stream is open. One that follows a whole account stands for none of its devices."""
        if listener.device_id is not None:
            self._change((listener.did, listener.device_id), by=1)

    def end(self, listener: Listener) -> None:
        if listener.device_id is not None:
            self._change((listener.did, listener.device_id), by=-1)

    def _change(self, device: Device, *, by: int) -> None:
        self._open[device] += by
        if not self._open[device]:
            del self._open[device]
        self._changed.add(device)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        """Tell the bus what has changed, and everything at each heartbeat, until nothing is open."""
        clock = asyncio.get_running_loop().time
        beat_at = clock()
        while self._open or self._changed:
            told, self._changed = self._changed, set()
            if clock() >= beat_at:
                told |= set(self._open)
                beat_at = clock() + settings.CATBIRD_STREAM_HEARTBEAT_SECONDS
            self._wake.clear()
            try:
                await self._tell(told)
            except (redis.RedisError, OSError) as error:
                logger.warning("presence not told cause=%s", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.0, beat_at - clock()))

    async def _tell(self, devices: set[Device]) -> None:
        async with (
            redis.asyncio.Redis.from_url(
                settings.REDIS_URL, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
            ) as bus,
            bus.pipeline(transaction=False) as told,
        ):
            for device in devices:
                if device in self._open:
                    told.set(_key(device), b"", px=believed())
                else:
                    told.delete(_key(device))
            await told.execute()


def _key(device: Device) -> str:
    return f"{HERE}:{device[0]} {device[1]}"


presence = Presence()
