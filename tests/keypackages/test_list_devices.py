"""blue.catbird.mls.listDevices"""

import pytest

from tests.conftest import Wire
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_device

pytestmark = pytest.mark.django_db


def test_devices_are_listed_with_their_packages(wire: Wire) -> None:
    phone, laptop = Phone(ALICE), Phone(ALICE, "laptop")
    a_device(phone, packages=2)
    a_device(laptop, packages=0)
    a_device(Phone(BOB))
    devices = wire.call("listDevices", by=ALICE)["devices"]
    assert [(one["deviceId"], one["deviceName"], one["keyPackageCount"]) for one in devices] == [
        (phone.device_id, "phone", 2),
        (laptop.device_id, "laptop", 0),
    ]


def test_an_account_without_devices_has_an_empty_list(wire: Wire) -> None:
    assert wire.call("listDevices", by=ALICE)["devices"] == []


def test_a_stranger_is_asked_for_a_token(wire: Wire) -> None:
    assert wire.call("listDevices", by=None).refusal == (401, "AuthenticationRequired")
