"""Both kinds of stream as tests read them: every event checked against the lexicon."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
from libipld import decode_dag_cbor_multi
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from catbird_mls.xrpc import lexicon
from catbird_mls.xrpc.auth import mint_development_token
from conversations.selectors import Asking
from conversations.services import append_message
from tests.live import PATIENCE_SECONDS, Web
from tests.situations import Talk
from tests.wiring import wire_bytes

SSE = "blue.catbird.mls.streamConvoEvents"
WEBSOCKET = "blue.catbird.mls.subscribeConvoEvents"

Event = dict[str, Any]
Open = Callable[..., AbstractContextManager[Iterator[Event | None]]]


class Refused(Exception):
    """By which error, and how: an HTTP status, or the code the connection was closed with."""

    def __init__(self, name: str, how: int, reason: str = "") -> None:
        super().__init__(name)
        self.name, self.how, self.reason = name, how, reason


def send(talk: Talk, text: str, *, size: int = 0) -> None:
    append_message(
        convo_id=talk.id,
        who=Asking(talk.founder.did),
        msg_id=text,
        epoch=talk.convo.epoch,
        ciphertext=text.encode().ljust(size, b"."),
    )


def headers(by: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_development_token(by)}"}


@contextmanager
def open_sse(server: Web, *, by: str, last_event_id: str | None = None, **params: str) -> Iterator[Any]:
    """The events of a connection; a heartbeat is None."""
    extra = {"Last-Event-ID": last_event_id} if last_event_id else {}
    request = {"params": params, "headers": headers(by) | extra, "timeout": 30}
    with httpx.stream("GET", f"{server.url}/xrpc/{SSE}", **request) as response:
        if response.status_code != httpx.codes.OK:
            response.read()
            raise Refused(response.json()["error"], response.status_code)
        assert response.headers["content-type"] == "text/event-stream"
        yield events_of(response)


def events_of(response: httpx.Response) -> Iterator[Event | None]:
    """Heartbeats never end, so patience has to."""
    fields: dict[str, str] = {}
    give_up = time.monotonic() + PATIENCE_SECONDS
    for line in response.iter_lines():
        assert time.monotonic() < give_up, "what was expected did not come"
        if line.startswith(":"):
            yield None
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            event = json.loads(fields["data"])
            assert lexicon.event_violations(SSE, fields["event"], event) == []
            assert event["cursor"] == fields["id"]
            fields = {}
            yield event


@contextmanager
def open_websocket(server: Web, *, by: str | None = None, **params: str) -> Iterator[Any]:
    """The same over a WebSocket; the first thing is None, as a stream over SSE begins with a heartbeat."""
    with socket_to(server, by=by, **params) as socket:
        yield frames_of(socket)


@contextmanager
def socket_to(
    server: Web, *, by: str | None = None, sock: socket.socket | None = None, **params: str
) -> Iterator[ClientConnection]:
    query = httpx.QueryParams(params)
    address = f"{server.url.replace('http', 'ws')}/xrpc/{WEBSOCKET}?{query}"
    try:
        connection = connect(
            address,
            sock=sock,
            additional_headers=headers(by) if by else {},
            max_size=None,
            # One that is told to be slow keeps nothing for later; the others do not wait for what they leave unread.
            max_queue=1 if sock else 256,
            close_timeout=0.5,
            open_timeout=30,
            proxy=None,
        )
    except InvalidStatus as error:
        name = json.loads(error.response.body or b"{}").get("error", "")
        raise Refused(name, error.response.status_code) from None
    with connection as opened:
        yield opened


def frames_of(socket: ClientConnection) -> Iterator[Event | None]:
    """Ends when the server closes; an error frame before that is a refusal."""
    yield None
    refusal = ""
    while True:
        try:
            frame = socket.recv(timeout=PATIENCE_SECONDS)
        except ConnectionClosed as closed:
            last = closed.rcvd
            if last is None or last.code != 1000:
                raise Refused(refusal, last.code if last else 0, last.reason if last else "") from None
            return
        assert isinstance(frame, bytes)
        header, body = decode_dag_cbor_multi(frame)
        if header == {"op": -1}:
            refusal = body["error"]
            assert refusal in lexicon.error_names(WEBSOCKET) | {"InvalidToken", "AuthenticationRequired"}
            continue
        assert header == {"op": 1, "t": "#" + body["$type"].partition("#")[2]}
        event = as_json(body)
        assert lexicon.event_violations(WEBSOCKET, header["t"][1:], event) == []
        yield event | {"type": header["t"][1:]}


def as_json(value: Any) -> Any:
    """What CBOR says in bytes, JSON says in base64."""
    if isinstance(value, bytes):
        return wire_bytes(value)
    if isinstance(value, dict):
        return {name: as_json(member) for name, member in value.items()}
    return value


def seqs(found: Iterator[Any], count: int) -> list[int]:
    """Of the next entries."""
    wanted: list[int] = []
    while len(wanted) < count:
        event = next(found)
        if event and event["type"] == "messageEvent":
            wanted.append(event["message"]["seq"])
    return wanted


def named(found: Iterator[Any], name: str) -> Any:
    return next(event for event in found if event and event["type"] == name)
