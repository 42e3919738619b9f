"""blue.catbird.mls.getWelcome"""

import base64
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone

from keypackages.models import KeyPackage, Welcome
from keypackages.services import publish_key_package
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, MALLORY, SUITE, Phone
from tests.situations import Talk, a_convo, a_device, add_unjoined, remove

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> Phone:
    return Phone(BOB)


@pytest.fixture
def talk(bob: Phone) -> Talk:
    """Bob is added and has not joined."""
    talk = a_convo(Phone(ALICE))
    add_unjoined(talk, talk.founder, bob)
    return talk


def fetch(wire: Wire, talk: Talk, *, by: str | None = BOB, **fields: str) -> Answer:
    return wire.call("getWelcome", by=by, **{"convoId": talk.id} | fields)


def can_join(bob: Phone, answer: Answer) -> bool:
    tree = base64.b64decode(answer["ratchetTree"])
    return bob.client.join(base64.b64decode(answer["welcome"]), tree).active


def test_user_publishes_new_key_package_after_being_added(wire: Wire, talk: Talk, bob: Phone) -> None:
    publish_key_package(did=BOB, item={"key_package": bob.packages()[0], "cipher_suite": SUITE})
    answer = fetch(wire, talk)
    assert answer["epoch"] == 1
    assert can_join(bob, answer)
    assert Welcome.objects.get().state == "fetched"
    assert KeyPackage.objects.get(spent_at__isnull=False).consumed_at is not None


def test_multi_device_scenario(wire: Wire) -> None:
    phone, laptop = Phone(BOB), Phone(BOB, "laptop")
    for device in (phone, laptop):
        a_device(device, packages=1)
    answer = wire.call("getKeyPackages", by=ALICE, dids=[BOB])
    assert len(answer["keyPackages"]) == 2
    talks = [a_convo(Phone(ALICE)) for _ in range(2)]
    for talk, device in zip(talks, (phone, laptop), strict=True):
        add_unjoined(talk, talk.founder, device)
        assert can_join(device, fetch(wire, talk, deviceId=device.device_id))


def test_already_consumed_welcome(wire: Wire, talk: Talk, bob: Phone) -> None:
    assert can_join(bob, fetch(wire, talk))
    wire.call("confirmWelcome", by=BOB, convoId=talk.id, success=True)
    with leaves_no_trace():
        assert fetch(wire, talk).refusal == (410, "WelcomeConsumed")
        assert fetch(wire, talk).refusal == (410, "WelcomeConsumed")


def test_without_a_grace_time_the_second_fetch_is_gone(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    settings.CATBIRD_WELCOME_GRACE_SECONDS = 0
    assert fetch(wire, talk).status == 200
    assert fetch(wire, talk).refusal == (410, "WelcomeConsumed")


def test_within_the_grace_time_the_same_bytes_come_again_and_after_it_none(wire: Wire, talk: Talk) -> None:
    first = fetch(wire, talk)
    with leaves_no_trace():
        assert fetch(wire, talk).body == first.body
    Welcome.objects.update(first_fetched_at=timezone.now() - timedelta(seconds=301))
    assert fetch(wire, talk).refusal == (410, "WelcomeConsumed")


def test_each_device_gets_its_own(wire: Wire, talk: Talk, bob: Phone) -> None:
    laptop = Phone(BOB, "laptop")
    a_device(laptop)
    add_unjoined(talk, talk.founder, laptop)
    assert fetch(wire, talk, deviceId=laptop.device_id)["epoch"] == 2
    assert fetch(wire, talk, deviceId=bob.uuid)["epoch"] == 1


def test_a_welcome_whose_package_has_ended_is_gone(wire: Wire, talk: Talk) -> None:
    KeyPackage.objects.update(expires_at=timezone.now())
    assert fetch(wire, talk).refusal == (410, "WelcomeConsumed")


def test_who_was_removed_has_no_way_in(wire: Wire, talk: Talk) -> None:
    remove(talk, talk.founder, BOB)
    assert Welcome.objects.get().state == "superseded"
    assert fetch(wire, talk).refusal == (403, "NotMember")


def test_refusals(wire: Wire, talk: Talk) -> None:
    with leaves_no_trace():
        assert fetch(wire, talk, by=ALICE).refusal == (404, "WelcomeNotFound")
        assert fetch(wire, talk, by=MALLORY).refusal == (403, "NotMember")
        assert fetch(wire, talk, by=None).refusal == (401, "AuthenticationRequired")
        assert fetch(wire, talk, convoId="nowhere").refusal == (403, "NotMember")
        assert fetch(wire, talk, deviceId="unknown").refusal == (403, "NotMember")
        assert wire.call("getWelcome", by=BOB).refusal == (400, "InvalidRequest")
