"""blue.catbird.mls.readdition, rejoin, requestRejoin, groupInfoRefresh, invalidateWelcome, getExpectedConversations"""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from conversations.models import ReadditionRequest, Rollout
from conversations.rejoining import EXTERNAL_COMMITS
from conversations.tasks import expire_requests
from keypackages.models import KeyPackage, Welcome
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device, add_unjoined, let_in_anew, remove
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))


def rejoin(wire: Wire, talk: Talk, *, by: str | None = BOB, method: str = "rejoin", **changes: Any) -> Answer:
    package = talk.phones[1].packages()[0]
    return wire.call(method, by=by, **{"convoId": talk.id, "keyPackage": b64(package)} | changes)


@pytest.mark.parametrize("method", ["rejoin", "requestRejoin"])
def test_a_fresh_package_is_there_for_whoever_answers(wire: Wire, talk: Talk, method: str) -> None:
    before = KeyPackage.objects.filter(did=BOB).count()
    first = rejoin(wire, talk, method=method, reason="state_loss")
    assert first["pending"] is True
    assert KeyPackage.objects.filter(did=BOB).count() == before + 1
    again = rejoin(wire, talk, method=method)
    assert again["requestId"] == first["requestId"]
    assert ReadditionRequest.objects.count() == 1


def test_a_member_that_asks_is_let_in_by_a_member_without_a_role(wire: Wire, talk: Talk) -> None:
    bob = talk.phones[1]
    answer = wire.call("readdition", by=BOB, convoId=talk.id, deviceId=bob.device_id)
    assert (answer["requested"], answer["activeMembers"]) == (True, 2)
    bob.client.forget_group(bytes.fromhex(talk.id))
    let_in_anew(talk, talk.phones[2], bob)
    assert ReadditionRequest.objects.get().answered_at is not None
    said = talk.founder.group(talk.id).encrypt(b"welcome back")
    assert bob.group(talk.id).process(said).data == b"welcome back"


def test_who_may_not_come_back_may_not_ask(wire: Wire, talk: Talk) -> None:
    remove(talk, talk.founder, BOB)
    bob = Phone(BOB)
    given = {"convoId": talk.id, "keyPackage": b64(bob.packages()[0])}
    with leaves_no_trace():
        for by in (BOB, MALLORY):
            assert wire.call("readdition", by=by, convoId=talk.id).refusal == (403, "Unauthorized")
            assert wire.call("rejoin", by=by, **given).refusal == (403, "Unauthorized")
            assert wire.call("groupInfoRefresh", by=by, convoId=talk.id).refusal == (403, "Unauthorized")
        assert wire.call("readdition", by=BOB, convoId="nowhere").refusal == (403, "Unauthorized")


def test_nobody_is_there_to_answer(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    with leaves_no_trace():
        assert wire.call("readdition", by=ALICE, convoId=talk.id).refusal == (409, "NoActiveMembers")
    assert wire.call("groupInfoRefresh", by=ALICE, convoId=talk.id).body == {"requested": False, "activeMembers": 0}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"keyPackage": "AAAA"}, (400, "InvalidKeyPackage")),
        ({"keyPackage": "***"}, (400, "InvalidRequest")),
        ({"keyPackage": b64(Phone(ALICE).packages()[0])}, (400, "InvalidKeyPackage")),
        ({"deviceId": "unknown"}, (404, "DeviceNotFound")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"convoId": None}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        assert rejoin(wire, talk, **changes).refusal == refusal


def test_members_are_asked_for_a_group_info(wire: Wire, talk: Talk) -> None:
    assert wire.call("groupInfoRefresh", by=BOB, convoId=talk.id).body == {"requested": True, "activeMembers": 2}


def test_a_welcome_that_is_given_up_is_gone(wire: Wire, talk: Talk) -> None:
    add_unjoined(talk, talk.founder, Phone("did:plc:dora"))
    given = {"convoId": talk.id, "reason": "no matching key package"}
    answer = wire.call("invalidateWelcome", by="did:plc:dora", **given)
    welcome = Welcome.objects.get(did="did:plc:dora")
    assert (answer["invalidated"], answer["welcomeId"]) == (True, str(welcome.pk))
    assert (welcome.state, welcome.reason) == ("refused", "no matching key package")
    assert wire.call("getWelcome", by="did:plc:dora", convoId=talk.id).refusal == (410, "WelcomeConsumed")
    with leaves_no_trace():
        assert wire.call("invalidateWelcome", by="did:plc:dora", **given).body == {"invalidated": False}
        assert wire.call("invalidateWelcome", by=MALLORY, **given).refusal == (403, "NotMember")


def test_a_device_learns_where_it_should_be(wire: Wire, talk: Talk) -> None:
    laptop = Phone(BOB, "laptop")
    a_device(laptop)
    (phone,) = wire.call("getExpectedConversations", by=BOB, deviceId=talk.phones[1].device_id)["conversations"]
    assert (phone["convoId"], phone["memberCount"], phone["shouldBeInGroup"]) == (talk.id, 3, True)
    assert (phone["deviceInGroup"], phone["needsRejoin"]) == (True, False)
    (other,) = wire.call("getExpectedConversations", by=BOB, deviceId=f"{BOB}#{laptop.uuid}")["conversations"]
    assert (other["deviceInGroup"], other["needsRejoin"]) == (False, True)
    assert wire.call("getExpectedConversations", by=MALLORY)["conversations"] == []
    assert wire.call("getExpectedConversations", by=BOB, deviceId="unknown").refusal == (404, "DeviceNotFound")


def test_a_request_shows_as_in_need_of_rejoining(wire: Wire, talk: Talk) -> None:
    wire.call("readdition", by=BOB, convoId=talk.id)
    (expected,) = wire.call("getExpectedConversations", by=BOB)["conversations"]
    assert expected["needsRejoin"] is True


def test_asking_too_often_is_told_when_to_ask_again(wire: Wire, talk: Talk) -> None:
    for _ in range(5):
        assert wire.call("readdition", by=BOB, convoId=talk.id).status == 200
    with leaves_no_trace():
        assert wire.call("readdition", by=BOB, convoId=talk.id).refusal == (429, "RateLimitExceeded")
        assert rejoin(wire, talk).refusal == (429, "RateLimitExceeded")
    assert wire.call("readdition", by=CAROL, convoId=talk.id).status == 200


def test_a_request_that_nobody_answers_is_dropped_after_a_week(wire: Wire, talk: Talk) -> None:
    wire.call("readdition", by=BOB, convoId=talk.id)
    expire_requests.apply(throw=True)
    assert ReadditionRequest.objects.exists()
    ReadditionRequest.objects.update(requested_at=timezone.now() - timedelta(days=8))
    expire_requests.apply(throw=True)
    assert not ReadditionRequest.objects.exists()


def test_the_fallback_is_open_where_external_commits_are_switched_off(wire: Wire, talk: Talk) -> None:
    Rollout.objects.create(name=EXTERNAL_COMMITS, percent=0)
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id).refusal == (403, "Unauthorized")
    assert wire.call("readdition", by=BOB, convoId=talk.id)["requested"] is True
    assert rejoin(wire, talk).status == 200
