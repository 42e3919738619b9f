"""blue.catbird.mls.getPendingDeviceAdditions, claimPendingDeviceAddition, completePendingDeviceAddition"""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from conversations.models import AdditionClaim
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device, bring_in
from tests.wiring import registration

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))


@pytest.fixture
def laptop(talk: Talk) -> Phone:
    """Bob's new laptop, registered after Bob came in."""
    laptop = Phone(BOB, "laptop")
    a_device(laptop)
    return laptop


def pending(wire: Wire, *, by: str = ALICE, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wire.call("getPendingDeviceAdditions", by=by, **fields)["pendingAdditions"]
    return found


def test_registering_tells_which_convos_the_device_waits_for(wire: Wire, talk: Talk) -> None:
    laptop = Phone(BOB, "laptop")
    answer = wire.call("registerDevice", by=BOB, **registration(laptop))
    assert answer["autoJoinedConvos"] == [talk.id]
    assert wire.call("registerDevice", by=BOB, **registration(laptop))["autoJoinedConvos"] == [talk.id]


def test_a_new_device_waits_in_every_convo_of_its_account(wire: Wire, talk: Talk, laptop: Phone) -> None:
    (waiting,) = pending(wire)
    assert (waiting["convoId"], waiting["userDid"], waiting["deviceId"]) == (talk.id, BOB, laptop.device_id)
    assert (waiting["deviceName"], waiting["status"]) == ("laptop", "pending")
    assert pending(wire, convoIds=[talk.id]) == [waiting]
    assert pending(wire, convoIds=["elsewhere"]) == []


def test_its_own_account_and_strangers_are_not_asked(wire: Wire, laptop: Phone) -> None:
    assert pending(wire, by=BOB) == []
    assert pending(wire, by=MALLORY) == []


def test_claimed_added_and_completed(wire: Wire, talk: Talk, laptop: Phone) -> None:
    (waiting,) = pending(wire)
    claimed = wire.call("claimPendingDeviceAddition", by=ALICE, pendingAdditionId=waiting["id"])
    assert (claimed["claimed"], claimed["claimedBy"], claimed["convoId"]) == (True, ALICE, talk.id)
    assert claimed["keyPackage"]["did"] == BOB
    assert [one["status"] for one in pending(wire, by=CAROL)] == ["in_progress"]
    bring_in(talk, talk.founder, laptop)
    done = {"pendingAdditionId": waiting["id"], "newEpoch": 2}
    assert wire.call("completePendingDeviceAddition", by=ALICE, **done)["success"] is True
    assert pending(wire, by=CAROL) == []
    with leaves_no_trace():
        assert wire.call("completePendingDeviceAddition", by=ALICE, **done)["success"] is True


def test_one_promises_at_a_time_and_a_promise_lapses(wire: Wire, laptop: Phone) -> None:
    (waiting,) = pending(wire)
    ask = {"pendingAdditionId": waiting["id"]}
    assert wire.call("claimPendingDeviceAddition", by=ALICE, **ask)["claimed"] is True
    assert wire.call("claimPendingDeviceAddition", by=ALICE, **ask)["claimed"] is True
    assert wire.call("claimPendingDeviceAddition", by=CAROL, **ask).body == {"claimed": False}
    AdditionClaim.objects.update(claimed_at=timezone.now() - timedelta(seconds=61))
    assert [one["status"] for one in pending(wire)] == ["pending"]
    assert wire.call("claimPendingDeviceAddition", by=CAROL, **ask)["claimed"] is True


def test_a_device_that_was_in_before_does_not_wait(wire: Wire, talk: Talk) -> None:
    bob = talk.phones[1]
    wire.call("leaveConvo", by=BOB, convoId=talk.id, deviceId=bob.device_id)
    assert pending(wire) == []


def test_an_older_device_that_was_never_added_does_not_wait(wire: Wire) -> None:
    laptop = Phone(BOB, "laptop")
    a_device(laptop)
    a_convo(Phone(ALICE), Phone(BOB))
    assert pending(wire) == []


def test_refusals(wire: Wire, talk: Talk, laptop: Phone) -> None:
    (waiting,) = pending(wire)
    ask = {"pendingAdditionId": waiting["id"]}
    with leaves_no_trace():
        for by, given in ((MALLORY, ask), (BOB, {"pendingAdditionId": "unknown"})):
            assert wire.call("claimPendingDeviceAddition", by=by, **given).refusal == (403, "NotMember")
        answer = wire.call("completePendingDeviceAddition", by=ALICE, **ask, newEpoch=2)
        assert answer.refusal == (409, "NotClaimed")
        for method in ("claimPendingDeviceAddition", "completePendingDeviceAddition"):
            assert wire.call(method, by=None, **ask).refusal == (401, "AuthenticationRequired")
            assert wire.call(method, by=ALICE).refusal == (400, "InvalidRequest")
        assert wire.call("getPendingDeviceAdditions", by=None).refusal == (401, "AuthenticationRequired")
        assert wire.call("getPendingDeviceAdditions", by=ALICE, limit=0).refusal == (400, "InvalidRequest")


def test_a_claim_is_not_completed_before_the_device_is_in(wire: Wire, laptop: Phone) -> None:
    (waiting,) = pending(wire)
    wire.call("claimPendingDeviceAddition", by=ALICE, pendingAdditionId=waiting["id"])
    with leaves_no_trace():
        answer = wire.call("completePendingDeviceAddition", by=ALICE, pendingAdditionId=waiting["id"], newEpoch=2)
    assert answer.refusal == (409, "NotClaimed")


def test_a_device_without_packages_cannot_be_claimed(wire: Wire, talk: Talk) -> None:
    a_device(Phone(BOB, "laptop"), packages=0)
    (waiting,) = pending(wire)
    with leaves_no_trace():
        answer = wire.call("claimPendingDeviceAddition", by=ALICE, pendingAdditionId=waiting["id"])
    assert answer.refusal == (409, "KeyPackageNotFound")
