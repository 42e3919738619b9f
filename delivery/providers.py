"""The seam to those who reach devices that are not connected; what goes through it says that something waits."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import httpx

from catbird_mls.xrpc.meters import PushProvider

# How long a provider keeps a push for a device that is off; the longest that all of them allow.
KEPT_SECONDS = 28 * 86_400
# Of each step of a request; a batch of them must fit into a claim.
PATIENCE_SECONDS = 5.0
IDLE_SECONDS = 600.0
CAUSE_MAX_LENGTH = 100

Kind = Literal["sent", "gone", "retry", "refused"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a provider made of one push, the cause in words that name nobody."""

    kind: Kind
    cause: str = ""
    pause_seconds: int = 0


class Provider(Protocol):
    name: PushProvider

    async def send(self, token: str, *, quiet: bool) -> Outcome:
        """Wake the app behind a token; quiet ones are not shown to anybody. Never raises for what a provider does."""
        ...


class CredentialsUnusable(Exception):
    """The message is a cause that can be shown: it holds nothing of the credentials."""


class Bearer:
    """What a provider is shown for a while, made when it is wanted; many pushes at once share one."""

    def __init__(self, make: Callable[[], Awaitable[tuple[str, float]]]) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._value, self._until = "", 0.0

    async def value(self) -> str:
        async with self._lock:
            if time.monotonic() >= self._until:
                self._value, seconds = await self._make()
                self._until = time.monotonic() + seconds
            return self._value

    def forget(self) -> None:
        """It was refused: make another one."""
        self._until = 0.0


def http_client(url: str, *, http1: bool) -> httpx.AsyncClient:
    """A client that keeps its connection open, as providers ask for.

    Asynchronous, because many pushes share one HTTP/2 connection, whose state several threads would spoil.
    """
    limits = httpx.Limits(max_keepalive_connections=2, keepalive_expiry=IDLE_SECONDS)
    return httpx.AsyncClient(base_url=url, http1=http1, http2=True, timeout=PATIENCE_SECONDS, limits=limits)


def failure(response: httpx.Response, reason: str) -> Outcome:
    """What has no meaning of its own: later it may go well, or it never will."""
    cause = f"{response.status_code} {reason}".strip()[:CAUSE_MAX_LENGTH]
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        return Outcome("retry", cause, pause_seconds(response))
    return Outcome("refused", cause)


def pause_seconds(response: httpx.Response) -> int:
    asked = response.headers.get("retry-after", "")
    return int(asked) if asked.isascii() and asked.isdigit() else 0
