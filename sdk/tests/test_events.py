import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from catbird import DevAuth, NotMember
from catbird.events import Connected, Received, ServerEvent, SseParser, follow
from catbird.methods import Methods
from catbird.session import Session
from catbird.store import Store
from catbird.xrpc import Xrpc

STREAM = (
    "\ufeff: heartbeat\n\nid: 7\nevent: messageEvent\ndata: {\"a\":\ndata: 1}\n\n"
    "data:no space\r\n\r\nevent: empty\n\nid: 8\rdata: gr\u00fc\u00dfe\u2028\r\rdata: unfinished"
).encode()  # fmt: skip
EVENTS = [
    ServerEvent("messageEvent", '{"a":\n1}', "7"),
    ServerEvent("message", "no space", "7"),
    ServerEvent("message", "gr\u00fc\u00dfe\u2028", "8"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_do_not_depend_on_how_bytes_are_cut(size: int) -> None:
    parser = SseParser()
    portions = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert [event for portion in portions for event in parser.feed(portion)] == EVENTS


def test_an_id_stays_until_the_next_one_and_begins_with_the_cursor() -> None:
    parser = SseParser(last_id="41")
    assert parser.feed(b"data: x\n\nid: 42\ndata: y\n\ndata: z\n\n") == [
        ServerEvent("message", "x", "41"),
        ServerEvent("message", "y", "42"),
        ServerEvent("message", "z", "42"),
    ]


class Script:
    """Answers to the connections a stream makes, one after the other; the last one refuses for good."""

    def __init__(self, *answers: httpx.Response | httpx.TransportError) -> None:
        self._answers = list(answers)
        self.cursors: list[str | None] = []
        self.last_event_ids: list[str | None] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.cursors.append(request.url.params.get("cursor"))
        self.last_event_ids.append(request.headers.get("last-event-id"))
        answer = self._answers.pop(0) if self._answers else refusal(403, "NotMember")
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def refusal(status: int, name: str) -> httpx.Response:
    return httpx.Response(status, json={"error": name, "message": ""})


def stream_of(*events: str, then: Exception | None = None) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        for event in events:
            yield event.encode()
        if then is not None:
            raise then

    return httpx.Response(200, content=body())


def run(folder: Path, script: Script, cursor: str | None = None) -> list[Connected | Received]:
    async def collect() -> list[Connected | Received]:
        store = Store(folder / "device.db")
        auth = DevAuth("did:plc:alice", "secret", "did:web:localhost")
        xrpc = Xrpc("http://test", auth, transport=httpx.MockTransport(script), sleep=script.sleep)
        session = Session(store, Methods(xrpc), "did:plc:alice", sleep=script.sleep, jitter=lambda: 0.5)
        session.registered("device-1", "phone")
        found: list[Connected | Received] = []
        with suppress(NotMember):
            async for event in follow(session, "c", cursor):
                found.append(event)
        await xrpc.close()
        store.close()
        return found

    return asyncio.run(collect())


def test_a_broken_stream_comes_back_with_the_last_cursor(tmp_path: Path) -> None:
    script = Script(
        stream_of('id: 5\nevent: messageEvent\ndata: {"cursor": "5"}\n\n', then=httpx.ReadTimeout("silence")),
        httpx.ConnectError("down"),
        stream_of('event: infoEvent\ndata: {"info": "x"}\n\n'),
    )
    found = run(tmp_path, script, "3")
    assert found == [
        Connected(),
        Received("messageEvent", {"cursor": "5"}, "5"),
        Connected(),
        Received("infoEvent", {"info": "x"}, "5"),
    ]
    assert script.cursors == ["3", "5", "5", "5"]
    assert script.last_event_ids == script.cursors


def test_waiting_grows_until_something_is_received(tmp_path: Path) -> None:
    script = Script(*[httpx.ConnectError("down")] * 7, stream_of('data: {"a": 1}\n\n'))
    run(tmp_path, script)
    assert script.waits == [1, 2, 4, 8, 16, 30, 30, 1]


def test_a_cursor_that_is_refused_is_given_up(tmp_path: Path) -> None:
    script = Script(refusal(400, "FutureCursor"), stream_of())
    assert run(tmp_path, script, "99") == [Connected()]
    assert script.cursors == ["99", None, None]


def test_an_event_that_is_no_json_is_passed_over(tmp_path: Path) -> None:
    script = Script(stream_of("data: nonsense\n\n", "data: [1]\n\n", 'data: {"a": 1}\n\n'))
    assert run(tmp_path, script) == [Connected(), Received("message", {"a": 1}, None)]
