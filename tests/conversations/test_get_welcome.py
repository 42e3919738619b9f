"""blue.catbird.mls.getWelcome"""

import base64
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone

from keypackages.models import KeyPackage, Welcome
from keypackages.services import publish_key_package
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, SUITE, Phone
from tests.situations import Talk, a_convo, a_device, add_unjoined, packages_of, remove
from tests.wiring import b64

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


@pytest.mark.parametrize("devices", [1, 2, 5])
def test_multi_device_scenario(wire: Wire, devices: int) -> None:
    phones = [Phone(BOB, f"device {number}") for number in range(devices)]
    for phone in phones:
        a_device(phone, packages=1)
    answer = wire.call("getKeyPackages", by=ALICE, dids=[BOB])
    assert len(answer["keyPackages"]) == devices
    alice = Phone(ALICE)
    for phone in phones:
        talk = a_convo(alice)
        add_unjoined(talk, talk.founder, phone)
        assert can_join(phone, fetch(wire, talk, deviceId=phone.device_id))


@pytest.mark.parametrize("devices", [2, 5])
def test_every_device_of_an_account_joins_the_same_convo(wire: Wire, devices: int) -> None:
    phones = [Phone(BOB, f"device {number}") for number in range(devices)]
    talk = a_convo(Phone(ALICE))
    add_unjoined(talk, talk.founder, *phones)
    for phone in phones:
        publish_key_package(did=BOB, item={"key_package": phone.packages()[0], "cipher_suite": SUITE})
        assert can_join(phone, fetch(wire, talk, deviceId=phone.device_id))
        given = {"convoId": talk.id, "success": True, "deviceId": phone.device_id}
        wire.call("confirmWelcome", by=BOB, **given)
        assert fetch(wire, talk, deviceId=phone.device_id).refusal == (410, "WelcomeConsumed")


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


def test_several_welcomes_of_one_commit_go_to_whom_they_are_for(wire: Wire) -> None:
    """Engines that make one Welcome a member: here one Welcome is cut in two."""
    alice, bob, carol = Phone(ALICE), Phone(BOB), Phone(CAROL)
    for phone in (bob, carol):
        a_device(phone)
    talk = a_convo(alice)
    made = talk.founder.add(talk.id, packages_of(bob, carol))
    assert made.welcome is not None
    halves = [b64(half) for half in split_welcome(made.welcome)]
    given = {"convoId": talk.id, "didList": [BOB, CAROL], "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    assert wire.call("addMembers", by=ALICE, **given, welcomeMessages=halves).status == 200
    got = {phone.did: fetch(wire, talk, by=phone.did) for phone in (bob, carol)}
    assert {answer["welcome"] for answer in got.values()} == set(halves)
    assert all(can_join(phone, got[phone.did]) for phone in (bob, carol))


def split_welcome(welcome: bytes) -> list[bytes]:
    """One Welcome for each of those a Welcome lets in (RFC 9420, section 12.4.3.1)."""
    head, rest = welcome[:6], welcome[6:]
    secrets, encrypted_group_info = _vector(rest)
    found = []
    while secrets:
        before = secrets
        for _ in range(3):  # reference, KEM output, ciphertext
            _, secrets = _vector(secrets)
        one = before[: len(before) - len(secrets)]
        found.append(head + (0x4000 | len(one)).to_bytes(2, "big") + one + encrypted_group_info)
    return found


def _vector(data: bytes) -> tuple[bytes, bytes]:
    """A vector with a variable-size length, and what follows it (section 2.1.2)."""
    width = 1 << (data[0] >> 6)
    length = int.from_bytes(data[:width], "big") & ((1 << (8 * width - 2)) - 1)
    return data[width : width + length], data[width + length :]
