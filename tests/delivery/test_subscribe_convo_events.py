"""blue.catbird.mls.subscribeConvoEvents and blue.catbird.mls.getSubscriptionTicket"""

import time

import httpx
import pytest
from django.conf import LazySettings
from django.test import Client

from conversations.models import Message
from delivery import tickets
from tests.conftest import Wire, leaves_no_trace
from tests.delivery.streaming import (
    WEBSOCKET,
    Refused,
    frames_of,
    headers,
    named,
    open_websocket,
    send,
    seqs,
    socket_to,
)
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.live import Web
from tests.situations import Talk, a_convo, a_device, remove
from tests.wiring import wire_bytes

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))


def ticket(wire: Wire, *, by: str = BOB, **fields: str) -> str:
    return str(wire.call("getSubscriptionTicket", by=by, **fields)["ticket"])


def refusal(server: Web, *, by: str | None = None, **params: str) -> Refused:
    with pytest.raises(Refused) as refused, open_websocket(server, by=by, **params) as found:
        list(found)
    return refused.value


def test_a_ticket_opens_a_stream_that_replays_and_then_follows(any_server: Web, wire: Wire, talk: Talk) -> None:
    send(talk, "before")
    params = {"ticket": ticket(wire), "convoId": talk.id, "cursor": "0"}
    with open_websocket(any_server, **params) as found:
        first = named(found, "messageEvent")
        assert (first["message"]["id"], first["message"]["ciphertext"]) == ("before", wire_bytes(b"before"))
        assert first["cursor"] == "2"
        send(talk, "live")
        assert seqs(found, 1) == [3]


def test_bytes_are_bytes_and_what_the_client_says_is_not_heard(server: Web, wire: Wire, talk: Talk) -> None:
    with socket_to(server, ticket=ticket(wire), convoId=talk.id, cursor="1") as socket:
        socket.send("hello")
        socket.send(b"\x00" * 1000)
        send(talk, "live")
        frame = socket.recv(timeout=30)
        assert isinstance(frame, bytes)
        assert b"\x44live" in frame
        assert frame.startswith(bytes.fromhex("a2617464236d657373616765")[:3])


def test_a_ticket_opens_one_stream_and_no_second(any_server: Web, wire: Wire, talk: Talk) -> None:
    params = {"ticket": ticket(wire), "convoId": talk.id}
    with open_websocket(any_server, **params):
        assert refusal(any_server, **params).name == "InvalidToken"
    assert refusal(any_server, **params).name == "InvalidToken"


def test_a_ticket_lapses(server: Web, wire: Wire, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "LIFETIME_SECONDS", 1)
    params = {"ticket": ticket(wire), "convoId": talk.id}
    time.sleep(1.5)
    refused = refusal(server, **params)
    assert (refused.name, refused.how) == ("InvalidToken", 401)


def test_a_ticket_says_where_and_until_when(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    answer = wire.call("getSubscriptionTicket", by=BOB)
    assert answer["endpoint"] == f"ws://testserver/xrpc/{WEBSOCKET}"
    settings.CATBIRD_PUBLIC_URL = "https://mls.example.org"
    answer = wire.call("getSubscriptionTicket", by=BOB, convoId=talk.id)
    assert answer["endpoint"] == f"wss://mls.example.org/xrpc/{WEBSOCKET}"


def test_the_store_does_not_hold_the_ticket_itself(wire: Wire, talk: Talk) -> None:
    text = ticket(wire)
    with tickets.impatient_bus() as bus:
        keys = [bytes(key) for key in bus.keys(f"{tickets.KEY}:*")]
        kept = b"".join([*keys, *(bytes(bus.get(key) or b"") for key in keys)])
    assert keys
    assert text.encode() not in kept


def test_a_ticket_for_one_convo_opens_no_other(server: Web, wire: Wire, talk: Talk) -> None:
    other = a_convo(Phone(ALICE), talk.phones[1])
    assert refusal(server, ticket=ticket(wire, convoId=talk.id), convoId=other.id).name == "NotMember"
    with open_websocket(server, ticket=ticket(wire, convoId=talk.id), cursor="1") as found:
        send(other, "elsewhere")
        send(talk, "here")
        assert named(found, "messageEvent")["message"]["id"] == "here"


def test_a_ticket_for_a_device_opens_what_the_device_may_read(server: Web, wire: Wire, talk: Talk) -> None:
    laptop = Phone(BOB, "laptop")
    a_device(laptop)
    params = {"ticket": ticket(wire, deviceId=laptop.device_id), "convoId": talk.id}
    assert refusal(server, **params).name == "NotMember"
    with open_websocket(server, ticket=ticket(wire, deviceId=talk.phones[1].device_id), convoId=talk.id) as found:
        assert next(found) is None


def test_a_bearer_token_will_do(server: Web, talk: Talk) -> None:
    with open_websocket(server, by=BOB, convoId=talk.id, cursor="1") as found:
        send(talk, "live")
        assert seqs(found, 1) == [2]


def test_who_is_removed_hears_of_it_and_is_told_why_the_stream_ends(any_server: Web, wire: Wire, talk: Talk) -> None:
    with socket_to(any_server, ticket=ticket(wire), convoId=talk.id, cursor="1") as socket:
        remove(talk, talk.founder, BOB)
        send(talk, "behind your back")
        assert [one["message"]["seq"] for one in frames_of(socket) if one] == [2]
        assert socket.close_code == 1000
        # daphne says no reasons.
        assert socket.close_reason in {"NotMember", ""}
        if "uvicorn" in " ".join(map(str, any_server.process.args)):
            assert socket.close_reason == "NotMember"


def test_a_cursor_from_the_future_is_refused_by_a_frame_and_a_reason(server: Web, wire: Wire, talk: Talk) -> None:
    refused = refusal(server, ticket=ticket(wire), convoId=talk.id, cursor="99")
    assert (refused.name, refused.how, refused.reason) == ("FutureCursor", 4008, "FutureCursor")


def test_a_cursor_from_before_what_is_kept_is_told_and_then_the_rest_comes(server: Web, wire: Wire, talk: Talk) -> None:
    for number in range(4):
        send(talk, f"m{number}")
    Message.objects.filter(convo_id=talk.id, seq__lt=4).delete()
    with open_websocket(server, ticket=ticket(wire), convoId=talk.id, cursor="1") as found:
        assert next(one for one in found if one)["info"] == "OutdatedCursor"
        assert seqs(found, 2) == [4, 5]


@pytest.mark.parametrize(
    ("by", "changes", "expected"),
    [
        (MALLORY, {}, (403, "NotMember")),
        (BOB, {"convoId": "nowhere"}, (403, "NotMember")),
        (BOB, {"deviceId": "unknown"}, (403, "NotMember")),
        (BOB, {"cursor": "nonsense"}, (400, "InvalidCursor")),
        (BOB, {"ticket": "made up"}, (401, "InvalidToken")),
        (None, {}, (401, "AuthenticationRequired")),
    ],
)
def test_refusals(server: Web, talk: Talk, by: str | None, changes: dict[str, str], expected: tuple[int, str]) -> None:
    with leaves_no_trace():
        refused = refusal(server, by=by, **{"convoId": talk.id} | changes)
    assert (refused.how, refused.name) == expected


def test_refusals_of_tickets(wire: Wire, talk: Talk) -> None:
    ask = {"method": "getSubscriptionTicket", "convoId": talk.id}
    assert wire.call(**ask, by=MALLORY).refusal == (403, "NotMember")
    assert wire.call(**ask | {"convoId": "nowhere"}, by=BOB).refusal == (403, "NotMember")
    assert wire.call(**ask, deviceId="unknown", by=BOB).refusal == (403, "NotMember")
    assert wire.call(**ask, by=None).refusal == (401, "AuthenticationRequired")


def test_without_the_store_there_are_no_tickets(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert wire.call("getSubscriptionTicket", by=BOB).refusal == (503, "NotEnoughResources")


def test_it_is_a_websocket_and_nothing_else_is(any_server: Web, talk: Talk) -> None:
    response = httpx.get(f"{any_server.url}/xrpc/{WEBSOCKET}", headers=headers(BOB))
    assert (response.status_code, response.json()["error"]) == (426, "InvalidRequest")
    assert response.headers["upgrade"] == "websocket"
    # What stands behind the front, for servers without WebSockets.
    assert Client().get(f"/xrpc/{WEBSOCKET}").status_code == 501
