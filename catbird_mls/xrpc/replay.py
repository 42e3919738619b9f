"""A token's id counts once: remembered on the bus for all processes, and in each for when the bus is down."""

import hashlib
import math
import time
from threading import Lock
from typing import Any

from catbird_mls.xrpc import bus
from catbird_mls.xrpc.errors import InvalidToken

REMEMBERED_MAX = 100_000

_seen: dict[bytes, float] = {}
_lock = Lock()


def require_first_use(issuer: str, jti: str, *, until: float) -> None:
    """From now on, and until that moment, the id is spent; of any number of uses at once one passes."""
    name = _require_unseen(issuer, jti, until)
    try:
        first = bus.ask(*_claim(name, until))
    except bus.BusDown:
        return
    _require_first(first)


async def require_first_use_soon(issuer: str, jti: str, *, until: float) -> None:
    """The same without holding up the event loop."""
    name = _require_unseen(issuer, jti, until)
    try:
        first = await bus.ask_soon(*_claim(name, until))
    except bus.BusDown:
        return
    _require_first(first)


def forget() -> None:
    with _lock:
        _seen.clear()


def _require_unseen(issuer: str, jti: str, until: float) -> bytes:
    """Not seen by this process, which remembers it from now on."""
    name = hashlib.sha256(f"{issuer} {jti}".encode()).digest()
    now = time.time()
    with _lock:
        if _seen.get(name, 0) > now:
            raise InvalidToken("The token has been used before.")
        _seen[name] = until
        if len(_seen) > REMEMBERED_MAX:
            _tidy(now)
    return name


def _tidy(now: float) -> None:
    for name in [name for name, until in _seen.items() if until <= now]:
        del _seen[name]
    excess = len(_seen) - REMEMBERED_MAX * 3 // 4
    for name in list(_seen)[: max(0, excess)]:
        del _seen[name]


def _claim(name: bytes, until: float) -> tuple[Any, ...]:
    seconds = max(1, math.ceil(until - time.time()))
    return "SET", b"catbird:jti:" + name, 1, "NX", "EX", seconds


def _require_first(answer: Any) -> None:
    if not answer:
        raise InvalidToken("The token has been used before.")
