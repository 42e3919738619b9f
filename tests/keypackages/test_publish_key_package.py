"""blue.catbird.mls.publishKeyPackage"""

from typing import Any

import pytest

from keypackages.models import KeyPackage
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone, in_days
from tests.situations import a_device
from tests.wiring import moment, package_item

pytestmark = pytest.mark.django_db


def test_a_package_is_published(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=0)
    assert wire.call("publishKeyPackage", by=ALICE, **package_item(phone.packages()[0])).body == {}
    assert wire.call("getKeyPackageStats", by=ALICE)["available"] == 1


def test_publishing_it_again_changes_nothing(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=0)
    item = package_item(phone.packages()[0])
    wire.call("publishKeyPackage", by=ALICE, **item)
    with leaves_no_trace():
        assert wire.call("publishKeyPackage", by=ALICE, **item).status == 200


def refused(phone: Phone, case: str) -> dict[str, Any]:
    package = phone.packages()[0]
    return {
        "another account": lambda: package_item(Phone(BOB).packages()[0]),
        "another device": lambda: package_item(Phone(ALICE).packages()[0]),
        "a broken signature": lambda: package_item(package[:-1] + bytes([package[-1] ^ 1])),
        "nonsense": lambda: package_item(b"nonsense"),
        "not base64": lambda: package_item(package, keyPackage="***"),
        "another label": lambda: package_item(package, cipherSuite="MLS_128_DHKEMP256_AES128GCM_SHA256_P256"),
        "an unknown suite": lambda: package_item(package, cipherSuite="MLS_999"),
        "a promise too long": lambda: package_item(package, expires=moment(in_days(500))),
        "a life too long": lambda: package_item(phone.client.key_packages(1, lifetime=500 * 86_400)[0]),
        "an ended life": lambda: package_item(phone.client.key_packages(1, lifetime=(1, 2))[0]),
        "no package": lambda: {"cipherSuite": "x"},
    }[case]()


@pytest.mark.parametrize(
    ("case", "refusal"),
    [
        ("another account", (400, "InvalidKeyPackage")),
        ("another device", (400, "InvalidKeyPackage")),
        ("a broken signature", (400, "InvalidKeyPackage")),
        ("nonsense", (400, "InvalidKeyPackage")),
        ("not base64", (400, "InvalidRequest")),
        ("another label", (400, "InvalidCipherSuite")),
        ("an unknown suite", (400, "InvalidCipherSuite")),
        ("a promise too long", (400, "ExpirationTooFar")),
        ("a life too long", (400, "InvalidKeyPackage")),
        ("an ended life", (400, "InvalidKeyPackage")),
        ("no package", (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, case: str, refusal: tuple[int, str]) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=0)
    with leaves_no_trace():
        assert wire.call("publishKeyPackage", by=ALICE, **refused(phone, case)).refusal == refusal


def test_a_device_must_be_registered_first(wire: Wire) -> None:
    item = package_item(Phone(ALICE).packages()[0])
    with leaves_no_trace():
        assert wire.call("publishKeyPackage", by=ALICE, **item).refusal == (404, "DeviceNotFound")


def test_a_device_has_at_most_a_hundred_unspent_packages(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=100)
    with leaves_no_trace():
        answer = wire.call("publishKeyPackage", by=ALICE, **package_item(phone.packages()[0]))
    assert answer.refusal == (400, "TooManyKeyPackages")
    assert KeyPackage.objects.count() == 100


def test_a_stranger_is_asked_for_a_token(wire: Wire) -> None:
    assert wire.call("publishKeyPackage", by=None).refusal == (401, "AuthenticationRequired")
