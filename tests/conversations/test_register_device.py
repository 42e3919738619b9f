"""blue.catbird.mls.registerDevice"""

from typing import Any

import pytest

from keypackages.models import Device, KeyPackage
from keypackages.services import register_device
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_convo, a_device, packages_of
from tests.wiring import package_item, registration, wire_bytes

pytestmark = pytest.mark.django_db


def test_a_device_is_registered_with_its_packages(wire: Wire) -> None:
    phone = Phone(ALICE)
    answer = wire.call("registerDevice", by=ALICE, **registration(phone, packages=3))
    assert answer.status == 200
    assert answer["mlsDid"] == f"{ALICE}#{phone.uuid}"
    assert KeyPackage.objects.filter(device_id=answer["deviceId"]).count() == 3


def test_the_uuid_may_be_spelled_as_the_other_vintage_does(wire: Wire) -> None:
    phone = Phone(ALICE)
    given = registration(phone)
    given["deviceUuid"] = given.pop("deviceUUID")
    assert wire.call("registerDevice", by=ALICE, **given)["mlsDid"].endswith(phone.uuid)


def test_registering_again_keeps_the_id_and_the_packages(wire: Wire) -> None:
    phone = Phone(ALICE)
    first = wire.call("registerDevice", by=ALICE, **registration(phone, packages=2))
    again = wire.call("registerDevice", by=ALICE, **registration(phone, packages=1, deviceName="renamed"))
    assert again["deviceId"] == first["deviceId"]
    assert KeyPackage.objects.filter(device_id=first["deviceId"]).count() == 3
    assert Device.objects.get().name == "renamed"


def test_a_reinstalled_device_gets_a_new_key_and_keeps_its_id(wire: Wire) -> None:
    phone = Phone(ALICE)
    first = wire.call("registerDevice", by=ALICE, **registration(phone, packages=2))
    fresh = Phone(ALICE, uuid=phone.uuid)
    again = wire.call("registerDevice", by=ALICE, **registration(fresh, packages=1))
    assert again["deviceId"] == first["deviceId"]
    assert KeyPackage.objects.count() == 1


def test_the_same_registration_twice_changes_nothing_but_the_last_contact(wire: Wire) -> None:
    given = registration(Phone(ALICE), packages=2)
    first = wire.call("registerDevice", by=ALICE, **given)
    assert wire.call("registerDevice", by=ALICE, **given).body == first.body
    assert KeyPackage.objects.count() == 2


def test_raw_packages_are_accepted_as_well_as_wrapped_ones(wire: Wire) -> None:
    phone = Phone(ALICE)
    package = phone.packages()[0]
    raw = package[4:] if package[:4] == b"\x00\x01\x00\x05" else package
    wrapped = b"\x00\x01\x00\x05" + raw
    items = [package_item(raw), package_item(wrapped)]
    wire.call("registerDevice", by=ALICE, **registration(phone, keyPackages=items))
    assert KeyPackage.objects.count() == 1


def bobs() -> Phone:
    return Phone(BOB)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"deviceName": ""}, (400, "InvalidDeviceName")),
        ({"deviceName": "x" * 101}, (400, "InvalidDeviceName")),
        ({"signaturePublicKey": wire_bytes(b"short")}, (400, "InvalidSignatureKey")),
        ({"signaturePublicKey": "***"}, (400, "InvalidRequest")),
        ({"signaturePublicKey": None}, (400, "InvalidRequest")),
        ({"keyPackages": [package_item(b"nonsense")]}, (400, "InvalidKeyPackages")),
        ({"keyPackages": [package_item(bobs().packages()[0])]}, (400, "InvalidKeyPackages")),
        ({"keyPackages": [package_item(Phone(ALICE).packages()[0])]}, (400, "InvalidKeyPackages")),
        ({"keyPackages": "none"}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        answer = wire.call("registerDevice", by=ALICE, **registration(Phone(ALICE), **changes))
    assert answer.refusal == refusal


def test_one_bad_package_refuses_the_whole_registration(wire: Wire) -> None:
    phone = Phone(ALICE)
    items = [package_item(phone.packages()[0]), package_item(b"nonsense")]
    with leaves_no_trace():
        answer = wire.call("registerDevice", by=ALICE, **registration(phone, keyPackages=items))
    assert answer.refusal == (400, "InvalidKeyPackages")
    assert "Package 1" in answer["message"]


def test_a_registration_brings_at_most_a_hundred_packages(wire: Wire) -> None:
    phone = Phone(ALICE)
    item = package_item(phone.packages()[0])
    with leaves_no_trace():
        answer = wire.call("registerDevice", by=ALICE, **registration(phone, keyPackages=[item] * 101))
    assert answer.refusal == (400, "InvalidKeyPackages")


def test_the_key_of_another_device_of_the_account_is_refused(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone)
    other = registration(phone, deviceUUID="another")
    with leaves_no_trace():
        assert wire.call("registerDevice", by=ALICE, **other).refusal == (409, "DeviceAlreadyRegistered")


def test_an_account_has_at_most_ten_devices(wire: Wire) -> None:
    for _ in range(10):
        a_device(Phone(ALICE), packages=0)
    with leaves_no_trace():
        answer = wire.call("registerDevice", by=ALICE, **registration(Phone(ALICE)))
    assert answer.refusal == (400, "TooManyDevices")


def test_a_package_under_way_outlives_a_registration_with_another_key(wire: Wire) -> None:
    bob = Phone(BOB)
    talk = a_convo(Phone(ALICE), bob)
    register_device(
        did=BOB, name="again", device_uuid=bob.uuid, signature_key=Phone(BOB).signature_key, key_packages=[]
    )
    assert KeyPackage.objects.filter(did=BOB, spent_in_convo=talk.id).exists()
    assert packages_of(bob) == []


def test_a_stranger_is_asked_for_a_token(wire: Wire) -> None:
    given = registration(Phone(ALICE))
    assert wire.call("registerDevice", by=None, **given).refusal == (401, "AuthenticationRequired")
