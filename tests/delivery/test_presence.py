"""Who has a stream open is not pushed to, as far as can be known."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from django.conf import LazySettings
from django.db.models.functions import Now

from catbird_mls.xrpc.auth import mint_development_token
from conversations.selectors import Asking
from conversations.services import append_message
from delivery.fanout import fan_out
from delivery.models import Nudge
from delivery.presence import connected
from delivery.push import push_due
from delivery.services import keep_push_token
from tests.devices import ALICE, BOB, Phone
from tests.infra.processes import wait_until
from tests.live import Web, web
from tests.providers import KEY_ID, TEAM_ID, TOPIC, Apple, running
from tests.situations import Talk, a_convo

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "ab" * 32
HEARTBEAT_SECONDS = 1
SERVER = {
    "CATBIRD_STREAM_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
    "CATBIRD_APNS_KEY_FILE": "for the worker",
    "CATBIRD_APNS_KEY_ID": KEY_ID,
    "CATBIRD_APNS_TEAM_ID": TEAM_ID,
    "CATBIRD_APNS_TOPIC": TOPIC,
}


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Web]:
    with web(**SERVER) as started:
        yield started


@pytest.fixture
def apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> Iterator[Apple]:
    settings.CATBIRD_STREAM_HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
    with running(Apple, tmp_path, monkeypatch) as service:
        yield service


@pytest.fixture
def talk() -> Talk:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    keep_push_token(did=BOB, device_id=talk.phones[1].device_id, platform="ios", token=TOKEN)
    return talk


@contextmanager
def stream(server: Web, **params: str) -> Iterator[httpx.Response]:
    url = f"{server.url}/xrpc/blue.catbird.mls.streamConvoEvents"
    headers = {"Authorization": f"Bearer {mint_development_token(BOB)}"}
    with httpx.stream("GET", url, params=params, headers=headers, timeout=30) as response:
        assert response.status_code == 200
        yield response


def is_here(talk: Talk) -> bool:
    return connected([device(talk)]) == {device(talk)}


def device(talk: Talk) -> tuple[str, str]:
    return BOB, talk.phones[1].device_id


def send(talk: Talk) -> None:
    place = f"m{talk.convo.last_seq}"
    append_message(convo_id=talk.id, who=Asking(ALICE), msg_id=place, epoch=talk.convo.epoch, ciphertext=b"x")
    fan_out()


def look(times: int = 1) -> None:
    for _ in range(times):
        Nudge.objects.filter(due_at__isnull=False).update(due_at=Now())
        push_due()


def test_a_device_with_a_stream_is_not_pushed_to_and_without_it_is(server: Web, apple: Apple, talk: Talk) -> None:
    with stream(server, deviceId=talk.phones[1].device_id):
        wait_until(lambda: is_here(talk))
        send(talk)
        look()
        assert Nudge.objects.get().connected_at is not None
        look()
        assert (apple.pushes, Nudge.objects.exists()) == ([], False)
    wait_until(lambda: not is_here(talk))
    send(talk)
    look()
    assert apple.tokens == [TOKEN]


def test_what_comes_between_two_looks_keeps_the_nudge(server: Web, apple: Apple, talk: Talk) -> None:
    with stream(server, deviceId=talk.phones[1].device_id):
        wait_until(lambda: is_here(talk))
        send(talk)
        look()
        send(talk)
        look()
        assert Nudge.objects.get().due_at is not None
    wait_until(lambda: not is_here(talk))
    look()
    assert apple.tokens == [TOKEN]


def test_the_stream_of_an_account_stands_for_none_of_its_devices(server: Web, apple: Apple, talk: Talk) -> None:
    with stream(server):
        send(talk)
        look()
        assert apple.tokens == [TOKEN]


def test_of_two_streams_of_a_device_one_is_enough(server: Web, talk: Talk) -> None:
    with stream(server, deviceId=talk.phones[1].device_id):
        with stream(server, deviceId=talk.phones[1].device_id):
            wait_until(lambda: is_here(talk))
        time.sleep(HEARTBEAT_SECONDS / 2)
        assert is_here(talk)


def test_a_stream_is_believed_as_long_as_it_is_open(server: Web, talk: Talk, settings: LazySettings) -> None:
    with (
        stream(server, deviceId=talk.phones[1].device_id),
        stream(server, deviceId=talk.phones[1].uuid),
        redis.Redis.from_url(settings.REDIS_URL) as bus,
    ):
        wait_until(lambda: is_here(talk))
        time.sleep(4 * HEARTBEAT_SECONDS)
        assert is_here(talk)
        # As if the bus had been away.
        bus.delete("catbird:here:{} {}".format(*device(talk)))
        wait_until(lambda: is_here(talk))


def test_while_the_bus_is_down_there_is_a_push_too_many(
    server: Web, apple: Apple, talk: Talk, settings: LazySettings
) -> None:
    with stream(server, deviceId=talk.phones[1].device_id):
        wait_until(lambda: is_here(talk))
        send(talk)
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        assert not is_here(talk)
        look()
        assert apple.tokens == [TOKEN]


def test_a_web_process_that_is_killed_is_not_believed_for_long(apple: Apple, talk: Talk) -> None:
    with web(**SERVER) as dying, stream(dying, deviceId=talk.phones[1].device_id):
        wait_until(lambda: is_here(talk))
        dying.kill()
        send(talk)
        look()
        assert apple.pushes == []
        wait_until(lambda: not is_here(talk))
        look()
    assert apple.tokens == [TOKEN]


def test_opening_a_stream_makes_the_next_entry_worth_a_push(server: Web, apple: Apple, talk: Talk) -> None:
    send(talk)
    look()
    with stream(server, deviceId=talk.phones[1].device_id):
        wait_until(lambda: is_here(talk))
        look()
        assert not Nudge.objects.exists()
    wait_until(lambda: not is_here(talk))
    send(talk)
    look()
    assert apple.tokens == [TOKEN, TOKEN]
