"""Short questions to the bus, for what works without it: an answer within moments, or ``BusDown``."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from catbird_mls.xrpc.together import Together

logger = logging.getLogger(__name__)

Command = tuple[Any, ...]

PATIENCE_SECONDS = 1.0
# Nobody else waits for a bus that somebody has just found down.
DOWN_SECONDS = 1.0

_down_until = 0.0
_client: redis.Redis | None = None
_lock = Lock()
# One round trip at a time is what lets the next one gather.
_thread = ThreadPoolExecutor(1, thread_name_prefix="bus")
_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, "Together[Command, Any]"] = WeakKeyDictionary()


class BusDown(Exception):
    """The bus did not answer, or was asked a moment ago and did not."""


def ask(*command: Any) -> Any:
    """The answer to one command, by one round trip."""
    return _one(ask_all([command])[0])


def ask_all(commands: Sequence[Command]) -> list[Any]:
    """The answers to many, by one round trip; one that the bus refuses is an exception in its place."""
    if time.monotonic() < _down_until:
        raise BusDown
    try:
        with _connection().pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # has no types
            return pipeline.execute(raise_on_error=False)
    except (redis.RedisError, OSError) as error:
        _find_down(error)
        raise BusDown from None


async def ask_soon(*command: Any) -> Any:
    """The same without holding up the event loop: what is asked while one round trip runs shares the next."""
    loop = asyncio.get_running_loop()
    desk = _desks.get(loop)
    if desk is None:
        desk = _desks[loop] = Together(_ask_all_soon)
    return _one(await desk.ask(command))


def forget() -> None:
    """Ask the bus again at once, and by the address that settings name now."""
    global _down_until, _client
    with _lock:
        _down_until, _client = 0.0, None


async def _ask_all_soon(commands: Sequence[Command]) -> list[Any]:
    if time.monotonic() < _down_until:
        return [BusDown()] * len(commands)
    try:
        return await asyncio.get_running_loop().run_in_executor(_thread, ask_all, commands)
    except BusDown as down:
        return [down] * len(commands)


def _one(answer: Any) -> Any:
    if isinstance(answer, BusDown):
        raise answer
    if isinstance(answer, redis.RedisError):
        _find_down(answer)
        raise BusDown
    return answer


def _find_down(error: Exception) -> None:
    global _down_until
    _down_until = time.monotonic() + DOWN_SECONDS
    logger.warning("bus not asked cause=%s", type(error).__name__)


def _connection() -> redis.Redis:
    """One for all threads: a second one, dropped by whoever lost the race to make it, would be closed in use."""
    global _client
    with _lock:
        if _client is None:
            _client = impatient_bus()
        return _client


def impatient_bus() -> redis.Redis:
    """A client of one's own that asks once: a store that is down or hangs is found out within a second."""
    once, wait = Retry(NoBackoff(), 0), PATIENCE_SECONDS
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=wait, socket_connect_timeout=wait, retry=once)
