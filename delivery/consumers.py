import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs

import orjson
from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer

from catbird_mls.xrpc.auth import authenticate
from catbird_mls.xrpc.errors import InvalidCursor, InvalidRequest, NotMember, XrpcError
from catbird_mls.xrpc.fields import CURSOR_PATTERN
from delivery.streams import Event, Follower, Log, follow, in_thread

HEARTBEAT = b": ping\n\n"
HEADERS = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"no")]


class StreamConvoEvents(AsyncHttpConsumer):  # type: ignore[misc]  # channels ships no types
    """blue.catbird.mls.streamConvoEvents as server-sent events: ``id`` is the cursor, ``data`` the event."""

    nsid = "blue.catbird.mls.streamConvoEvents"

    def __init__(self, *, log: Log, find_device: Callable[..., str | None]) -> None:
        super().__init__()
        self.log = log
        self.find_device = find_device
        self.task: asyncio.Task[None] | None = None

    async def http_request(self, message: Mapping[str, Any]) -> None:
        """Hold the connection open: the base class ends it as soon as its handler returns."""
        if message.get("more_body") or self.task is not None:
            return
        self.task = asyncio.get_running_loop().create_task(self._answer())

    async def http_disconnect(self, message: Mapping[str, Any]) -> None:
        if self.task is not None:
            self.task.cancel()
        raise StopConsumer

    async def _answer(self) -> None:
        try:
            follower, cursor = await in_thread(self._follower)()
            await in_thread(follower.begin)(cursor)
            if not follower.spans and follower.convo_id is not None:
                raise NotMember
        except XrpcError as error:
            await self._refuse(error)
            return
        await self.send_headers(status=200, headers=HEADERS)
        # Closed at once when the connection goes, so that the hub forgets it.
        async with aclosing(follow(follower)) as events:
            async for event in events:
                await self.send_body(HEARTBEAT if event is None else _frame(self.nsid, event), more_body=True)
        await self.send_body(b"", more_body=False)

    async def _refuse(self, error: XrpcError) -> None:
        headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
        await self.send_response(
            error.status, orjson.dumps(error.body()), headers=[(b"Content-Type", b"application/json"), *headers]
        )

    def _follower(self) -> tuple[Follower, str | None]:
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        caller = authenticate(headers.get("authorization"), self.nsid)
        if self.scope["method"] != "GET":
            raise InvalidRequest(f"{self.nsid} is called with GET.")
        given = {name: values[0] for name, values in parse_qs(self.scope["query_string"].decode("latin-1")).items()}
        cursor = headers.get("last-event-id") or given.get("cursor")
        if cursor is not None and not CURSOR_PATTERN.fullmatch(cursor):
            raise InvalidCursor
        device_id = None
        if handle := given.get("deviceId"):
            device_id = self.find_device(did=caller.did, handle=handle)
            if device_id is None:
                raise NotMember
        return Follower(log=self.log, did=caller.did, device_id=device_id, convo_id=given.get("convoId")), cursor


def _frame(nsid: str, event: Event) -> bytes:
    data = {"$type": f"{nsid}#{event.name}", "type": event.name, "cursor": event.cursor, **event.fields}
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.cursor.encode(), event.name.encode(), orjson.dumps(data))
