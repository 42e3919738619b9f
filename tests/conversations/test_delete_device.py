"""blue.catbird.mls.deleteDevice"""

import pytest

from keypackages.models import KeyPackage
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_device

pytestmark = pytest.mark.django_db


def test_a_deleted_device_is_gone_with_its_packages(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=3)
    answer = wire.call("deleteDevice", by=ALICE, deviceId=phone.device_id)
    assert (answer["deleted"], answer["keyPackagesDeleted"]) == (True, 3)
    assert wire.call("listDevices", by=ALICE)["devices"] == []
    assert wire.call("getKeyPackages", by=BOB, dids=[ALICE])["missing"] == [ALICE]


def test_the_uuid_names_the_device_too(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone)
    assert wire.call("deleteDevice", by=ALICE, deviceId=f"{ALICE}#{phone.uuid}")["deleted"] is True


def test_a_deleted_device_can_be_registered_anew(wire: Wire) -> None:
    phone = Phone(ALICE)
    old = a_device(phone)
    wire.call("deleteDevice", by=ALICE, deviceId=phone.device_id)
    assert a_device(phone).pk != old.pk
    assert KeyPackage.objects.filter(spent_at__isnull=True).count() == 2


@pytest.mark.parametrize("by", [BOB, ALICE])
def test_only_ones_own_existing_device_can_be_deleted(wire: Wire, by: str) -> None:
    phone = Phone(ALICE)
    a_device(phone)
    handle = phone.device_id if by == BOB else "unknown"
    with leaves_no_trace():
        assert wire.call("deleteDevice", by=by, deviceId=handle).refusal == (404, "DeviceNotFound")


def test_deleting_twice_finds_nothing_the_second_time(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone)
    wire.call("deleteDevice", by=ALICE, deviceId=phone.device_id)
    with leaves_no_trace():
        answer = wire.call("deleteDevice", by=ALICE, deviceId=phone.device_id)
    assert answer.refusal == (404, "DeviceNotFound")


def test_refusals_of_form(wire: Wire) -> None:
    assert wire.call("deleteDevice", by=ALICE).refusal == (400, "InvalidRequest")
    assert wire.call("deleteDevice", by=None, deviceId="x").refusal == (401, "AuthenticationRequired")
