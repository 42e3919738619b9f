"""Calls of ``blue.catbird.mls`` methods over one HTTP client: tokens, retries, errors by name."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from catbird.auth import Auth
from catbird.errors import RateLimited, Unavailable, XrpcError, xrpc_error
from catbird.wire import Json

NAMESPACE = "blue.catbird.mls"
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
STREAM_SILENCE_SECONDS = 45.0
MAX_ATTEMPTS = 4
FIRST_DELAY_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
RETRIED_STATUSES = frozenset({429, 502, 503, 504})

Parameter = str | int | bool | Sequence[str] | None
Sleep = Callable[[float], Awaitable[None]]


class Xrpc:
    """One server, one caller."""

    def __init__(
        self,
        server: str,
        auth: Auth,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._auth = auth
        self._http = httpx.AsyncClient(base_url=server, timeout=TIMEOUT, transport=transport)
        self._sleep = sleep
        self._jitter = jitter

    async def close(self) -> None:
        await self._http.aclose()

    async def query(self, method: str, **parameters: Parameter) -> Json:
        """A read; asked again while the server cannot answer."""
        return await self._call("GET", method, retry=True, params=_present(parameters))

    async def procedure(self, method: str, body: Mapping[str, Any], *, idempotent: bool) -> Json:
        """A change; asked again only when repeating it gives the first answer."""
        return await self._call("POST", method, retry=idempotent, json=dict(body))

    @asynccontextmanager
    async def stream(self, method: str, **parameters: Parameter) -> AsyncIterator[httpx.Response]:
        """An open event stream; silence for longer than three heartbeats ends it with a timeout."""
        headers = await self._headers(method) | {"accept": "text/event-stream", "cache-control": "no-store"}
        if cursor := parameters.get("cursor"):
            headers["last-event-id"] = str(cursor)
        timeout = httpx.Timeout(STREAM_SILENCE_SECONDS, connect=10.0)
        async with self._http.stream(
            "GET", _path(method), params=_present(parameters), headers=headers, timeout=timeout
        ) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                raise _refusal(response)
            yield response

    async def _call(self, verb: str, method: str, *, retry: bool, **content: Any) -> Json:
        attempts = MAX_ATTEMPTS if retry else 1
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(verb, method, **content)
            except (RateLimited, Unavailable) as error:
                wait = self._wait(error, attempt)
                if attempt == attempts or wait is None:
                    raise
            await self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, verb: str, method: str, **content: Any) -> Json:
        headers = await self._headers(method)
        try:
            response = await self._http.request(verb, _path(method), headers=headers, **content)
        except httpx.TransportError as error:
            raise Unavailable(0, "NoAnswer", f"{method}: {type(error).__name__}") from error
        if response.is_success:
            return _answer(response)
        raise _refusal(response)

    async def _headers(self, method: str) -> dict[str, str]:
        return {"authorization": f"Bearer {await self._auth.token(f'{NAMESPACE}.{method}')}"}

    def _wait(self, error: XrpcError, attempt: int) -> float | None:
        """Seconds before the next attempt, or None when another one is of no use."""
        if error.status and error.status not in RETRIED_STATUSES:
            return None
        if isinstance(error, RateLimited) and error.retry_after is not None:
            asked = error.retry_after + self._jitter()
            return asked if error.retry_after <= LONGEST_WAIT_SECONDS else None
        return FIRST_DELAY_SECONDS * 2.0 ** (attempt - 1) * (0.5 + self._jitter())


def _path(method: str) -> str:
    return f"/xrpc/{NAMESPACE}.{method}"


def _present(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in parameters.items()
        if value is not None
    }


def _answer(response: httpx.Response) -> Json:
    """The JSON object of a success; without one nobody knows what happened."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Unavailable(response.status_code, "BadAnswer", "the answer is no JSON object")
    return body


def _refusal(response: httpx.Response) -> XrpcError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    error = xrpc_error(response.status_code, body if isinstance(body, dict) else {})
    if isinstance(error, RateLimited):
        error.retry_after = _seconds(response.headers.get("retry-after"))
    return error


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None
