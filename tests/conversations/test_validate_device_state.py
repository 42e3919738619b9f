"""blue.catbird.mls.validateDeviceState"""

import pytest

from tests.conftest import Wire
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_convo, a_device

pytestmark = pytest.mark.django_db


def test_a_sound_device_has_no_issues(wire: Wire) -> None:
    bob = Phone(BOB)
    a_device(bob, packages=3)
    a_convo(Phone(ALICE), bob)
    answer = wire.call("validateDeviceState", by=BOB, deviceId=bob.device_id)
    assert (answer["isValid"], answer["issues"], answer["recommendations"]) == (True, [], [])
    assert (answer["expectedConvos"], answer["actualConvos"]) == (1, 1)
    assert answer["keyPackageInventory"]["available"] == 2
    assert answer["keyPackageInventory"]["needsReplenishment"] is True


def test_what_is_wrong_is_named_with_what_would_mend_it(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    laptop = Phone(BOB, "laptop")
    a_device(laptop, packages=0)
    wire.call("readdition", by=BOB, convoId=talk.id)
    answer = wire.call("validateDeviceState", by=BOB, deviceId=laptop.device_id)
    assert answer["isValid"] is False
    assert answer["issues"] == [f"not in the group of conversation {talk.id}", "no key package is left"]
    assert answer["recommendations"] == ["rejoin it", "publish key packages"]
    assert answer["pendingRejoinRequests"] == [talk.id]


def test_refusals(wire: Wire) -> None:
    assert wire.call("validateDeviceState", by=BOB, deviceId="unknown").refusal == (404, "DeviceNotFound")
    assert wire.call("validateDeviceState", by=None).refusal == (401, "AuthenticationRequired")
