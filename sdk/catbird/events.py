"""Server-sent events: the parser, and a stream that comes back by itself.

Events are hints; the log is the record. So the stream says whenever it has (re)connected, and its reader
then reads the log before trusting what follows.
"""

import codecs
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import httpx

from catbird.errors import RateLimited, Unavailable, XrpcError
from catbird.session import Session
from catbird.wire import Json

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
MAX_LINE_CHARACTERS = 32 * 1024 * 1024
_CURSOR_ERRORS = frozenset({"FutureCursor", "OutdatedCursor", "InvalidCursor"})


@dataclass(frozen=True)
class ServerEvent:
    """One event of a ``text/event-stream``; ``id`` is the last one named, here or before."""

    name: str
    data: str
    id: str | None


@dataclass(frozen=True)
class Connected:
    """The stream is open: everything from here on will be announced."""


@dataclass(frozen=True)
class Received:
    """An event with its JSON body."""

    name: str
    body: Json
    cursor: str | None


@dataclass
class SseParser:
    """Bytes in any portions in, events out, as the HTML standard describes event streams."""

    last_id: str | None = None
    _rest: str = ""
    _name: str = ""
    _data: list[str] = field(default_factory=list)
    _text: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8-sig")("replace")
    )

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        self._rest += self._text.decode(chunk)
        events = (self._line(line) for line in self._lines())
        return [event for event in events if event is not None]

    def _lines(self) -> list[str]:
        """Complete lines. A final CR is kept back: its LF may follow in the next portion."""
        text, kept = (self._rest[:-1], "\r") if self._rest.endswith("\r") else (self._rest, "")
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if len(rest) > MAX_LINE_CHARACTERS:
            raise Unavailable(0, "BadAnswer", "a line of the event stream is too long")
        self._rest = rest + kept
        return lines

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self.last_id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        event = ServerEvent(self._name or "message", "\n".join(self._data), self.last_id)
        complete = bool(self._data)
        self._name, self._data = "", []
        return event if complete else None


async def follow(
    session: Session, convo_id: str | None, cursor: str | None
) -> AsyncGenerator[Connected | Received, None]:
    """Events of one convo or of all, for as long as the server lets this device listen.

    After a lost connection it comes back with the last cursor, waiting longer each time nothing was
    received. A cursor that the server does not take is given up: reading the log fills what lies between.
    """
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            async with aclosing(_connection(session, convo_id, cursor)) as events:
                async for event in events:
                    if isinstance(event, Received):
                        delay = FIRST_DELAY_SECONDS
                        cursor = event.cursor or cursor
                    yield event
        except (httpx.TransportError, RateLimited, Unavailable):
            pass
        except XrpcError as error:
            if error.name not in _CURSOR_ERRORS or cursor is None:
                raise
            cursor = None
        await session.sleep(delay * (0.5 + session.jitter()))
        delay = min(delay * 2, LONGEST_DELAY_SECONDS)


async def _connection(
    session: Session, convo_id: str | None, cursor: str | None
) -> AsyncGenerator[Connected | Received, None]:
    parser = SseParser(last_id=cursor)
    stream = session.methods.xrpc.stream(
        "streamConvoEvents", convoId=convo_id, deviceId=session.device_id, cursor=cursor
    )
    async with stream as response:
        yield Connected()
        async for chunk in response.aiter_bytes():
            for event in parser.feed(chunk):
                if (received := _received(event)) is not None:
                    yield received


def _received(event: ServerEvent) -> Received | None:
    """An event whose body cannot be read is passed over: the log has what it stood for."""
    try:
        body = json.loads(event.data)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    cursor = body.get("cursor", event.id)
    return Received(event.name, body, cursor if isinstance(cursor, str) else None)
