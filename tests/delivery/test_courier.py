"""Bells, hints and nudges leave by themselves: whoever puts them down waits for nobody."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from threading import Event, Thread

import orjson
import pytest
import redis
from django.conf import LazySettings, settings
from kombu.exceptions import OperationalError

from conversations.models import Message
from delivery import courier as courier_module
from delivery.courier import BELL, HINTS, Courier
from delivery.fanout import fan_out
from delivery.hub import Hint, announce, ring
from delivery.models import Dispatch, Envelope
from tests.delivery.streaming import send
from tests.devices import ALICE, BOB, Phone
from tests.infra.processes import wait_until
from tests.situations import a_convo

PATIENCE_SECONDS = 30


@pytest.fixture
def courier() -> Iterator[Courier]:
    """One of the test's own, that gives up with it."""
    own = Courier()
    yield own
    # Whatever waits for a bus that never comes back is let go.
    own._leave = lambda *_: True  # type: ignore[method-assign]


@pytest.fixture
def heard() -> Iterator[redis.client.PubSub]:
    with redis.Redis.from_url(settings.REDIS_URL) as bus, bus.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(BELL, HINTS)
        while not subscription.get_message(timeout=0.1) and len(subscription.channels) < 2:
            pass
        yield subscription


def next_of(heard: redis.client.PubSub, part: bytes) -> bytes:
    """The next message with this in it: other tests ring as well."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        message = heard.get_message(timeout=1)
        if message and part in message["data"]:
            return bytes(message["data"])
    raise AssertionError("it was not told")


def test_a_bell_and_a_hint_reach_the_bus(heard: redis.client.PubSub) -> None:
    ring("a-convo", 7)
    assert next_of(heard, b"a-convo") == b"a-convo 7"
    announce(Hint("infoEvent", {"info": "x"}, did="did:plc:somebody"))
    assert orjson.loads(next_of(heard, b"somebody"))["name"] == "infoEvent"


def test_rings_of_a_key_that_wait_are_one_and_the_last_place_counts(
    courier: Courier, heard: redis.client.PubSub
) -> None:
    with courier._changed:
        for seq in (3, 9, 4):
            courier.ring("merged", seq)
        courier.ring("any", 0)
        courier.ring("any", 5)
    assert next_of(heard, b"merged") == b"merged 9"
    assert next_of(heard, b"any") == b"any 0"


def test_a_nudge_rests_for_as_long_as_it_is_told(courier: Courier) -> None:
    sent: list[str] = []
    for _ in range(3):
        courier.nudge("seldom", sent.append, spacing=PATIENCE_SECONDS)
        courier.nudge("often", sent.append, spacing=0.0)
        wait_until(lambda: sent.count("often") > 0)
        sent.remove("often")
    assert sent == ["seldom"]


def test_nudges_of_a_convo_are_one_while_it_waits(courier: Courier) -> None:
    told: list[str] = []
    began = time.monotonic()
    for _ in range(500):
        courier.nudge("busy", told.append)
        courier.nudge("other", told.append)
    assert courier.settle(PATIENCE_SECONDS)
    spacings = (time.monotonic() - began) / courier_module.NUDGE_SPACING_SECONDS
    assert 1 <= told.count("other") <= told.count("busy") + 1 <= spacings + 3


def test_a_nudge_after_the_last_one_was_sent_is_sent_too(courier: Courier) -> None:
    told: list[str] = []
    for count in (1, 2, 3):
        courier.nudge("convo", told.append)
        assert courier.settle(PATIENCE_SECONDS)
        assert len(told) == count


def test_a_bus_that_refuses_is_left_alone_for_a_while_and_then_hears_what_waited(
    courier: Courier, heard: redis.client.PubSub
) -> None:
    tried, back = [], Event()

    def fail(convo_id: str) -> None:
        tried.append(time.monotonic())
        if not back.is_set():
            raise OperationalError("refused")

    courier.nudge("convo", fail)
    assert courier.settle(PATIENCE_SECONDS)
    for _ in range(100):
        courier.ring("waited", 5)
        courier.nudge("convo", fail)
    time.sleep(0.2)
    assert len(tried) == 1
    back.set()
    assert next_of(heard, b"waited") == b"waited 5"
    while len(tried) < 2:
        time.sleep(0.05)
    assert tried[1] - tried[0] >= courier_module.DOWN_SECONDS


# Forking beside threads is what this is about.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_begins_anew_with_what_it_puts_down_itself(heard: redis.client.PubSub) -> None:
    holding, enough = Event(), Event()

    def hold() -> None:
        with courier_module.courier._changed:
            holding.set()
            enough.wait(PATIENCE_SECONDS)

    # Any thread may hold the lock at that moment, and in the child there is nobody to let go of it.
    other = Thread(target=hold)
    other.start()
    assert holding.wait(PATIENCE_SECONDS)
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE_SECONDS)
        ring("from the child", 1)
        settled = courier_module.courier.settle(PATIENCE_SECONDS)
        os._exit(0 if settled else 1)
    enough.set()
    other.join()
    assert next_of(heard, b"from the child") == b"from the child 1"
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


@pytest.fixture(params=["refuses", "hangs"])
def dead_bus(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where nobody listens, or somebody does and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if request.param == "refuses":
            listener.close()
        yield f"redis://127.0.0.1:{port}/0"


@pytest.mark.django_db(transaction=True)
def test_sends_do_not_wait_for_a_dead_bus_and_the_sweep_does_the_rest(
    dead_bus: str, courier: Courier, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    settings.REDIS_URL = dead_bus
    monkeypatch.setattr("delivery.services.courier", courier)
    monkeypatch.setattr("delivery.hub.courier", courier)
    began = time.monotonic()
    for number in range(20):
        send(talk, f"m{number}")
    took = time.monotonic() - began
    # One time-out would be a second, twenty of them twenty.
    assert took < 10
    assert Message.objects.filter(convo_id=talk.id).count() == 21
    assert Dispatch.objects.filter(convo_id=talk.id).count() == 21
    fan_out()
    assert Envelope.objects.get(did=BOB).last_seq == 21
