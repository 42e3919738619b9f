"""The front in the test's own process and on its own connection, so that it sees what is not committed."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection, connections

from catbird_mls.asgi import SWIFT
from catbird_mls.xrpc.front import Front
from catbird_mls.xrpc.pool import AsyncPool
from conversations.desk import Desk, desk_on


class FrontWay:
    """Calls as a client does, past Django's handler."""

    def __init__(self) -> None:
        self._shared = connections["default"]
        self._shared.ensure_connection()
        self._shared.inc_thread_sharing()
        self._thread = ThreadPoolExecutor(1, initializer=self._adopt)
        self._runner = asyncio.Runner()
        self._front = Front(SWIFT, self._open_desk, tidy=lambda: None)
        # One thread, which sees what the test sees.
        self._front.__dict__["_threads"] = self._thread

    def close(self) -> None:
        self._runner.close()
        self._thread.shutdown()
        self._shared.dec_thread_sharing()

    def call(self, verb: str, path: str, *, query: Mapping[str, Any], body: bytes, headers: Mapping[str, str]) -> Any:
        """Status and body."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": verb,
            "scheme": "http",
            "path": path,
            "root_path": "",
            "query_string": urlencode(query, doseq=True).encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
        }
        return self._runner.run(self._answered(scope, body))

    async def _answered(self, scope: Mapping[str, Any], body: bytes) -> tuple[int, bytes]:
        sent: list[Mapping[str, Any]] = []

        async def receive() -> Mapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        await self._front(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    async def _open_desk(self) -> Desk:
        return desk_on(cast("AsyncPool", SharedPool(self._thread)), batched=settings.ENABLE_ACTOR_SYSTEM)

    def _adopt(self) -> None:
        connections["default"] = self._shared


class SharedPool:
    """A pool of one connection: the test's."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["SharedPool"]:
        yield self

    async def execute(
        self, statement: str, values: Sequence[Any] | Mapping[str, Any], *, binary: bool = False
    ) -> "Fetched":
        return Fetched(await asyncio.get_running_loop().run_in_executor(self._thread, _fetch, statement, values))


class Fetched:
    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    async def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows


def _fetch(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
