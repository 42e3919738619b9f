"""blue.catbird.mls.syncKeyPackages"""

import pytest

from keypackages.models import KeyPackage
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_convo, a_device

pytestmark = pytest.mark.django_db


def references(phone: Phone) -> list[str]:
    packages = KeyPackage.objects.filter(device_id=phone.device_id, spent_at__isnull=True).order_by("pk")
    return [bytes(package.reference).hex() for package in packages]


def test_what_the_device_has_no_longer_is_dropped(wire: Wire) -> None:
    phone, laptop = Phone(ALICE), Phone(ALICE, "laptop")
    for device in (phone, laptop):
        a_device(device, packages=3)
    kept, *orphans = references(phone)
    answer = wire.call("syncKeyPackages", by=ALICE, deviceId=phone.device_id, localHashes=[kept, "00" * 32])
    assert (answer["serverHashes"], answer["orphanedHashes"]) == ([kept], orphans)
    assert (answer["orphanedCount"], answer["deletedCount"], answer["remainingAvailable"]) == (2, 2, 1)
    assert len(references(laptop)) == 3


def test_twice_changes_nothing_more(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=2)
    given = {"deviceId": phone.device_id, "localHashes": references(phone)[:1]}
    wire.call("syncKeyPackages", by=ALICE, **given)
    with leaves_no_trace():
        assert wire.call("syncKeyPackages", by=ALICE, **given)["deletedCount"] == 0


def test_a_package_whose_welcome_is_under_way_stays(wire: Wire) -> None:
    bob = Phone(BOB)
    talk = a_convo(Phone(ALICE), bob)
    wire.call("syncKeyPackages", by=BOB, deviceId=bob.device_id, localHashes=[])
    assert KeyPackage.objects.get(did=BOB).spent_in_convo == talk.id


def test_refusals(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone)
    given = {"deviceId": phone.device_id, "localHashes": []}
    with leaves_no_trace():
        many = [f"{number:064x}" for number in range(201)]
        assert wire.call("syncKeyPackages", by=ALICE, **given | {"localHashes": many}).refusal == (
            400,
            "TooManyHashes",
        )
        assert wire.call("syncKeyPackages", by=BOB, **given).refusal == (404, "DeviceNotFound")
        assert wire.call("syncKeyPackages", by=ALICE, **given | {"localHashes": ["xyz"]}).refusal == (
            400,
            "InvalidRequest",
        )
        assert wire.call("syncKeyPackages", by=ALICE, localHashes=[]).refusal == (400, "InvalidRequest")
        assert wire.call("syncKeyPackages", by=None, **given).refusal == (401, "AuthenticationRequired")
