"""The way of every call on ``/xrpc/``: past Django's handler, whose threads a request cost more than most calls do.

Methods called most answer in the event loop; all others are the views of ``urls.py``, run in a bounded pool of
threads. Both give the answers that the views give anywhere else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO
from time import perf_counter
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.urls import ResolverMatch, resolve

from catbird_mls.xrpc.auth import Caller, authenticate_soon
from catbird_mls.xrpc.body import read_object
from catbird_mls.xrpc.errors import InvalidRequest, PayloadTooLarge
from catbird_mls.xrpc.limits import LimitState, named_device, require_allowed_soon
from catbird_mls.xrpc.meters import count_call
from catbird_mls.xrpc.views import Endpoint, known_error, without_nulls

P = ParamSpec("P")
T = TypeVar("T")
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)
requests = logging.getLogger("catbird_mls.requests")

PREFIX = "/xrpc/"
REQUEST_ID = "x-request-id"
REQUEST_ID_MAX_LENGTH = 128


class Gone(Exception):
    """The client went away before its request was read."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]


class Front:
    """An ASGI application for ``/xrpc/``; ``open_desk`` makes what the swift methods need, one an event loop."""

    def __init__(
        self,
        swift: Mapping[str, type[Endpoint]],
        open_desk: Callable[[], Awaitable[Any]],
        *,
        tidy: Callable[[], None] = close_old_connections,
    ) -> None:
        self._swift = swift
        self._open_desk = open_desk
        self._tidy = tidy
        self._desks: dict[asyncio.AbstractEventLoop, asyncio.Task[Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        headers = _headers(scope)
        request_id = headers.get(REQUEST_ID, "")[:REQUEST_ID_MAX_LENGTH] or uuid4().hex
        try:
            reply = await self._answer(scope, headers, receive)
        except Gone:
            return
        await _send(send, reply, request_id)
        requests.info(
            "call %s status=%s ms=%.1f id=%s",
            scope["path"].removeprefix(PREFIX),
            reply.status,
            1000 * (perf_counter() - began),
            request_id,
        )

    async def _answer(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Reply:
        method = self._swift.get(scope["path"].removeprefix(PREFIX))
        if method is not None and scope["method"] == method.verb:
            began = perf_counter()
            reply = await self._answer_swiftly(method, scope, headers, receive)
            count_call(method.nsid, reply.status, perf_counter() - began)
            return reply
        try:
            body = await _body(headers, receive)
        except PayloadTooLarge as refusal:
            return _refusal(refusal)
        return await self._in_thread(_view_reply, scope, body)

    async def _answer_swiftly(
        self, method: type[Endpoint], scope: Scope, headers: Mapping[str, str], receive: Receive
    ) -> Reply:
        try:
            caller = await authenticate_soon(
                headers.get("authorization"), method.nsid, procedure=method.verb == "POST", address=_address(scope)
            )
            body = await _body(headers, receive)
            data = read_object(body) if method.verb == "POST" else _parameters(scope)
            left = await require_allowed_soon(caller, method.nsid, device=named_device(data))
            given = method.quick(data) or _validated(method, data)
            answer = await method.handle_swiftly(await self._desk(), caller, **given)
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001 - every failure is an answer, the unforeseen ones without detail
            return _refusal(error)
        if answer is None:
            return await self._in_thread(_view_reply, scope, body, (caller, left))
        return Reply(200, orjson.dumps(without_nulls(answer)), left.headers)

    async def _desk(self) -> Any:
        """One for each event loop; a failure to open it is not kept."""
        loop = asyncio.get_running_loop()
        opening = self._desks.get(loop)
        if opening is None or (opening.done() and opening.exception() is not None):
            opening = self._desks[loop] = loop.create_task(_opened(self._open_desk))
        return await asyncio.shield(opening)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        # Made on first use, so that a forked process has threads of its own.
        return ThreadPoolExecutor(settings.CATBIRD_FRONT_THREADS, thread_name_prefix="xrpc")

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        def run() -> T:
            try:
                return work(*args, **more)
            finally:
                self._tidy()

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)


async def _opened(open_desk: Callable[[], Awaitable[Any]]) -> Any:
    return await open_desk()


def _view_reply(scope: Scope, body: bytes, admitted: tuple[Caller, LimitState] | None = None) -> Reply:
    match = _resolved(scope["path"])
    request = ASGIRequest(dict(scope), BytesIO(body))
    if admitted is not None:
        vars(request)["admitted"] = admitted
    # Of a body that came in pieces without one; the parser takes its absence for an empty body.
    request.META["CONTENT_LENGTH"] = str(len(body))
    response = match.func(request, *match.args, **match.kwargs)
    if not getattr(response, "is_rendered", True):
        response.render()
    skipped = {"content-length", "content-type"}
    headers = {name: value for name, value in response.items() if name.lower() not in skipped}
    return Reply(response.status_code, response.content, headers)


@lru_cache(maxsize=256)
def _resolved(path: str) -> ResolverMatch:
    """Django looks through all patterns each time."""
    return resolve(path)


def _validated(method: type[Endpoint], data: Mapping[str, Any]) -> dict[str, Any]:
    given = method.Input(data=dict(data))
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def _refusal(error: Exception) -> Reply:
    known = known_error(error)
    return Reply(known.status, orjson.dumps(known.body()), known.headers)


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return str(client[0]) if client else None


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _parameters(scope: Scope) -> dict[str, str]:
    """Of a name given twice the last one counts, as for the views."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, encoding="utf-8"))


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes:
    """The whole body; one that is too large is refused as soon as that is known."""
    stated = headers.get("content-length", "0")
    if not stated.isdecimal():
        raise InvalidRequest("Content-Length is not a number.")
    size = int(stated)
    parts: list[bytes] = []
    more = True
    while more and size <= settings.REQUEST_MAX_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        size = max(size, sum(map(len, parts)))
    if size > settings.REQUEST_MAX_BYTES:
        raise PayloadTooLarge(f"A request body is at most {settings.REQUEST_MAX_BYTES} bytes.")
    return b"".join(parts)


async def _send(send: Send, reply: Reply, request_id: str) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (REQUEST_ID.encode(), request_id.encode("latin-1", "replace")),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
