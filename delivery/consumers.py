"""The two kinds of stream as Channels consumers: server-sent events, and a WebSocket with DAG-CBOR frames."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, ClassVar
from urllib.parse import parse_qs

import orjson
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.utils import await_many_dispatch
from django.conf import settings

from catbird_mls.xrpc.auth import authenticate
from catbird_mls.xrpc.errors import InvalidCursor, InvalidRequest, NotMember, XrpcError
from catbird_mls.xrpc.fields import CURSOR_PATTERN
from catbird_mls.xrpc.limits import named_device, require_allowed
from catbird_mls.xrpc.meters import STREAM_EVENTS, STREAMS, StreamKind
from delivery.desk import Desk, Log, in_thread
from delivery.errors import ConsumerTooSlow, FutureCursor, OutdatedCursor
from delivery.frames import HEARTBEAT, dag_cbor, error_frame, sse
from delivery.selectors import Reader
from delivery.streams import INFO_EVENT, NOT_MEMBER, Event, Follower, follow
from delivery.tickets import redeem_ticket

logger = logging.getLogger(__name__)

JSON = (b"Content-Type", b"application/json")
SSE_HEADERS = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"no")]
# A large event takes its time on a thin line: so many bytes a second count as reading.
SLOWEST_BYTES_A_SECOND = 16 * 1024
UPGRADE_REQUIRED = 426
# Of the range that is free for applications, because not every server lets them use 1008.
NORMAL_CLOSURE, REFUSED = 1000, 4008


class Stream(AsyncConsumer):  # type: ignore[misc]  # channels ships no types
    """What both kinds share: who asks and from where on, the events, and an end to readers that are too slow."""

    nsid: ClassVar[str]
    kind: ClassVar[StreamKind]

    def __init__(self, *, log: Log, desk: Desk, find_device: Callable[..., str | None]) -> None:
        super().__init__()
        self.log = log
        self.desk = desk
        self.find_device = find_device
        self.task: asyncio.Task[None] | None = None
        self.over = asyncio.Event()
        self.unread = 0

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        """Ends when the stream does or when the other side goes, and leaves nothing running."""
        self.scope, self.base_send = scope, send
        try:
            await await_many_dispatch([receive, self._end], self.dispatch)
        except StopConsumer:
            pass
        finally:
            if self.task is not None:
                self.task.cancel()

    async def stream_ended(self, message: Mapping[str, Any]) -> None:
        raise StopConsumer

    async def _end(self) -> dict[str, str]:
        await self.over.wait()
        return {"type": "stream.ended"}

    def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.answer())
        self.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.over.set()
        # OSError is how servers say that the other side has gone.
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, OSError):
            logger.error("stream ended kind=%s", self.kind, exc_info=error)

    async def answer(self) -> None:
        raise NotImplementedError

    async def put(self, frame: bytes) -> None:
        raise NotImplementedError

    async def begin(self) -> Follower:
        """The follower at its starting place, or the refusal."""
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in self.scope["headers"]}
        given = {name: values[0] for name, values in parse_qs(self.scope["query_string"].decode("latin-1")).items()}
        cursor = headers.get("last-event-id") or given.get("cursor")

        def find() -> Follower:
            follower = Follower(self.reader(headers, given))
            if cursor is not None and not CURSOR_PATTERN.fullmatch(cursor):
                raise InvalidCursor
            follower.begin(self.log, cursor)
            return follower

        return await in_thread(find)()

    def reader(self, headers: Mapping[str, str], given: Mapping[str, str]) -> Reader:
        """Whoever the bearer token speaks for."""
        address = (self.scope.get("client") or [None])[0]
        caller = authenticate(headers.get("authorization"), self.nsid, procedure=False, address=address)
        require_allowed(caller, self.nsid, device=named_device(given))
        device_id = None
        if handle := given.get("deviceId"):
            device_id = self.find_device(did=caller.did, handle=handle)
            if device_id is None:
                raise NotMember
        return Reader(caller.did, device_id, given.get("convoId"))

    async def deliver(self, follower: Follower) -> None:
        """Every event until the follower ends; ConsumerTooSlow when the other side does not read."""
        STREAMS.labels(self.kind).inc()
        try:
            # Closed at once when the connection goes, so that the hub forgets it.
            async with aclosing(follow(follower, self.log, self.desk)) as events:
                async for event in events:
                    await self.tell(event)
        finally:
            STREAMS.labels(self.kind).dec()

    async def tell(self, event: Event | None) -> None:
        raise NotImplementedError

    async def put_in_time(self, frame: bytes) -> None:
        """A server that has filled its buffer waits before it takes more; a wait that is too long ends the stream."""
        seconds = settings.CATBIRD_STREAM_SEND_SECONDS + (self.unread + len(frame)) / SLOWEST_BYTES_A_SECOND
        self.unread = len(frame)
        try:
            async with asyncio.timeout(seconds):
                await self.put(frame)
        except TimeoutError:
            raise ConsumerTooSlow from None


class StreamConvoEvents(Stream, AsyncHttpConsumer):  # type: ignore[misc]  # channels ships no types
    """blue.catbird.mls.streamConvoEvents as server-sent events."""

    nsid = "blue.catbird.mls.streamConvoEvents"
    kind = "sse"

    async def http_request(self, message: Mapping[str, Any]) -> None:
        """Hold the connection open: the base class ends it as soon as its handler returns."""
        if not message.get("more_body") and self.task is None:
            self.start()

    async def http_disconnect(self, message: Mapping[str, Any]) -> None:
        raise StopConsumer

    async def answer(self) -> None:
        try:
            if self.scope["method"] != "GET":
                raise InvalidRequest(f"{self.nsid} is called with GET.")
            follower = await self.begin()
            if follower.outdated:
                raise OutdatedCursor
        except XrpcError as error:
            headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
            await self.send_response(error.status, orjson.dumps(error.body()), headers=[JSON, *headers])
            return
        await self.send_headers(status=200, headers=SSE_HEADERS)
        # Last words may come too late as well, and then the connection is simply closed.
        with suppress(ConsumerTooSlow):
            try:
                await self.deliver(follower)
            except ConsumerTooSlow as error:
                await self.tell(Event(INFO_EVENT, follower.cursor, {"info": type(error).__name__}))
            async with asyncio.timeout(settings.CATBIRD_STREAM_SEND_SECONDS):
                await self.send_body(b"", more_body=False)

    async def tell(self, event: Event | None) -> None:
        await self.put_in_time(HEARTBEAT if event is None else sse(self.nsid, event))
        if event is not None:
            STREAM_EVENTS.labels(event.name).inc()

    async def put(self, frame: bytes) -> None:
        await self.send_body(frame, more_body=True)


class SubscribeConvoEvents(Stream, AsyncWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """blue.catbird.mls.subscribeConvoEvents: a WebSocket opened with a ticket, or with a bearer token."""

    nsid = "blue.catbird.mls.subscribeConvoEvents"
    kind = "websocket"

    async def websocket_connect(self, message: Mapping[str, Any]) -> None:
        self.start()

    async def websocket_receive(self, message: Mapping[str, Any]) -> None:
        """What clients say is not heard."""

    async def websocket_disconnect(self, message: Mapping[str, Any]) -> None:
        raise StopConsumer

    async def answer(self) -> None:
        try:
            follower = await self.begin()
        except XrpcError as error:
            await self._refuse(error)
            return
        await self.accept()
        with suppress(ConsumerTooSlow):
            try:
                await self.deliver(follower)
            except ConsumerTooSlow as error:
                await self._fail(error)
            else:
                code = NORMAL_CLOSURE if follower.ending == NOT_MEMBER else REFUSED
                await self._shut(code, follower.ending)

    def reader(self, headers: Mapping[str, str], given: Mapping[str, str]) -> Reader:
        """Whoever the ticket was made for, narrowed to one convo if the request says so."""
        if "ticket" not in given:
            return super().reader(headers, given)
        held = redeem_ticket(given["ticket"])
        convo_id = given.get("convoId", held.convo_id)
        if held.convo_id not in {None, convo_id}:
            raise NotMember
        return Reader(held.did, held.device_id, convo_id)

    async def tell(self, event: Event | None) -> None:
        # Signs of life are the server's own pings.
        if event is not None:
            await self.put_in_time(dag_cbor(self.nsid, event))
            STREAM_EVENTS.labels(event.name).inc()

    async def put(self, frame: bytes) -> None:
        await self.send(bytes_data=frame)

    async def _refuse(self, error: XrpcError) -> None:
        """By an HTTP answer where the server can give one; what is wrong with the cursor always by a frame."""
        if isinstance(error, FutureCursor) or "websocket.http.response" not in self.scope.get("extensions", {}):
            await self.accept()
            await self._fail(error)
            return
        headers = [(name.encode(), value.encode()) for name, value in error.headers.items()]
        start = {"type": "websocket.http.response.start", "status": error.status, "headers": [JSON, *headers]}
        await self.base_send(start)
        await self.base_send({"type": "websocket.http.response.body", "body": orjson.dumps(error.body())})

    async def _fail(self, error: XrpcError) -> None:
        await self.put_in_time(error_frame(error))
        await self._shut(REFUSED, type(error).__name__)

    async def _shut(self, code: int, reason: str) -> None:
        async with asyncio.timeout(settings.CATBIRD_STREAM_SEND_SECONDS):
            await self.close(code, reason)


class UpgradeRequired(AsyncHttpConsumer):  # type: ignore[misc]  # channels ships no types
    """Who calls subscribeConvoEvents without a WebSocket."""

    async def handle(self, body: bytes) -> None:
        refusal = InvalidRequest(f"{SubscribeConvoEvents.nsid} is a WebSocket.")
        headers = [JSON, (b"Upgrade", b"websocket")]
        await self.send_response(UPGRADE_REQUIRED, orjson.dumps(refusal.body()), headers=headers)
