"""Streams while much is going on: nothing lost, nothing twice, and nobody holds the others up."""

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx
import pytest
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from tests.delivery.streaming import (
    SSE,
    Open,
    Refused,
    frames_of,
    headers,
    named,
    open_sse,
    open_websocket,
    send,
    seqs,
    socket_to,
)
from tests.devices import ALICE, BOB, Phone
from tests.infra.processes import wait_until
from tests.live import PATIENCE_SECONDS, Web, web
from tests.races.threads import at_once
from tests.situations import Talk, a_convo

pytestmark = [pytest.mark.django_db(transaction=True)]

ENTRIES = int(os.environ.get("CATBIRD_ENTRIES", "1500"))
RECONNECTIONS = int(os.environ.get("CATBIRD_RECONNECTIONS", "15"))
EVENT_BYTES = 32 * 1024
# More than the buffers of both ends of a socket hold.
EVENTS_TO_FILL = 350


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[Thread]:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(PATIENCE_SECONDS)


@pytest.mark.timeout(300 + ENTRIES // 5)
def test_whoever_connects_wherever_and_whenever_sees_every_entry_once(server: Web) -> None:
    """A writer goes on and on; two devices come back again and again, each time from some earlier place."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    with meanwhile(lambda: [send(talk, f"m{number}") for number in range(ENTRIES)]):
        readers = [partial(come_back_and_back, talk, partial(kind, server)) for kind in (open_sse, open_websocket)]
        assert at_once(readers, patience=120 + ENTRIES / 10) == [1 + ENTRIES] * 2
    assert talk.convo.last_seq == 1 + ENTRIES


def come_back_and_back(talk: Talk, stream: Open) -> int:
    """How far it got, every entry after every cursor once and in order."""
    chance = random.Random(20)  # noqa: S311 - the same run every time
    end, known = 1 + ENTRIES, 1
    for round_ in range(1, RECONNECTIONS + 1):
        cursor = chance.randrange(max(1, known - 150), known + 1)
        known = end if round_ == RECONNECTIONS else min(end, known + ENTRIES // RECONNECTIONS)
        with stream(by=BOB, convoId=talk.id, cursor=str(cursor)) as found:
            assert seqs(found, known - cursor) == list(range(cursor + 1, known + 1))
    return known


def test_over_all_convos_nothing_is_lost_and_each_convo_keeps_its_order(stream: Open) -> None:
    bob = Phone(BOB)
    alice = Phone(ALICE)
    talks = [a_convo(alice, bob) for _ in range(2)]
    cursor = "0"
    seen: dict[str, list[int]] = {talk.id: [1] for talk in talks}
    with meanwhile(lambda: [send(talk, f"m{number}") for number in range(200) for talk in talks]):
        while any(last[-1] < 201 for last in seen.values()):
            with stream(by=BOB, cursor=cursor) as found:
                begun, told = cursor, 0
                # The cursor stands still while others write, so a connection is kept until it has moved.
                while (told < 60 or cursor == begun) and any(last[-1] < 201 for last in seen.values()):
                    told += 1
                    event = named(found, "messageEvent")
                    mine, seq = seen[event["message"]["convoId"]], event["message"]["seq"]
                    assert seq <= mine[-1] + 1, "an entry was stepped over"
                    mine.append(seq)
                    cursor = event["cursor"]
    assert all(sorted(set(mine)) == list(range(1, 202)) for mine in seen.values())


def test_a_device_has_five_streams_and_a_sixth_ends_the_oldest(server: Web) -> None:
    phone = Phone(BOB)
    talk = a_convo(Phone(ALICE), phone)
    mine = {"by": BOB, "convoId": talk.id, "deviceId": phone.device_id}
    with (
        open_sse(server, **mine) as oldest,
        open_websocket(server, **mine) as second,
        open_sse(server, **mine) as third,
        open_sse(server, **mine) as fourth,
        open_sse(server, **mine) as fifth,
    ):
        kept = [third, fourth, fifth]
        for found in (oldest, second, *kept):
            assert next(found) is None
        with open_sse(server, by=BOB, convoId=talk.id) as of_the_account, open_sse(server, **mine) as sixth:
            assert [one["info"] for one in oldest if one] == ["StreamReplaced"]
            with open_sse(server, **mine) as seventh:
                with pytest.raises(Refused) as ended:
                    assert [one["info"] for one in second if one] == ["StreamReplaced"]
                assert (ended.value.how, ended.value.reason) == (4008, "StreamReplaced")
                send(talk, "to all that are left")
                for found in (*kept, of_the_account, sixth, seventh):
                    assert seqs(found, 1) == [2]


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Web]:
    """A server with little patience, that counts for itself, and whose streams hardly look by themselves."""
    changes = {"CATBIRD_METRICS_DIR": str(tmp_path), "CATBIRD_STREAM_LOOK_SECONDS": "600"}
    with web(**changes, CATBIRD_STREAM_SEND_SECONDS="4") as running:
        yield running


def narrow(server: Web) -> socket.socket:
    """A socket that takes in little by itself."""
    address = urlsplit(server.url)
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect((address.hostname, address.port))
    opened.settimeout(PATIENCE_SECONDS)
    return opened


def open_streams(server: Web, kind: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics", timeout=30).text)
    streams = [sample for family in families for sample in family.samples if sample.labels.get("kind") == kind]
    return sum(sample.value for sample in streams if sample.name == "catbird_stream_connections")


def test_who_does_not_read_is_cut_off_and_holds_nobody_up(impatient: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for number in range(EVENTS_TO_FILL):
        send(talk, f"m{number}", size=EVENT_BYTES)
    request = f"GET /xrpc/{SSE}?convoId={talk.id}&cursor=1 HTTP/1.1\r\nHost: localhost\r\n"
    slow = socket_to(impatient, sock=narrow(impatient), by=BOB, convoId=talk.id, cursor="1")
    with narrow(impatient) as dead, slow as sleepy:
        dead.sendall(f"{request}Authorization: {headers(BOB)['Authorization']}\r\n\r\n".encode())
        with open_sse(impatient, by=ALICE, convoId=talk.id) as found:
            assert next(found) is None
            send(talk, "quick")
            assert seqs(found, 1) == [EVENTS_TO_FILL + 2]
        wait_until(lambda: open_streams(impatient, "websocket") == 0)
        # Whoever begins to read within the patience for last words hears them.
        with pytest.raises(Refused) as ended:
            list(frames_of(sleepy))
        assert (ended.value.name, ended.value.how) == ("ConsumerTooSlow", 4008)
        wait_until(lambda: open_streams(impatient, "sse") == 0)
        time.sleep(8)
        # What the buffers held still comes, and then it is over, before everything has been sent.
        received = sum(len(part) for part in iter(lambda: dead.recv(1 << 20), b""))
    assert EVENT_BYTES < received < EVENTS_TO_FILL * EVENT_BYTES


def test_replay_of_large_events_comes_in_portions_and_complete(impatient: Web) -> None:
    """Pages are cut by bytes; what is cut off follows by itself."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for number in range(12):
        send(talk, f"m{number}", size=400_000)
    with open_sse(impatient, by=BOB, convoId=talk.id, cursor="1") as found:
        assert seqs(found, 12) == list(range(2, 14))
