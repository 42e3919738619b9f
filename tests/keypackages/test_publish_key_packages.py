"""blue.catbird.mls.publishKeyPackages"""

import pytest

from keypackages.models import KeyPackage
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_device
from tests.wiring import package_item

pytestmark = pytest.mark.django_db


def test_one_bad_item_never_spoils_the_rest(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=0)
    good = phone.packages(2)
    items = [
        package_item(good[0]),
        package_item(b"nonsense"),
        package_item(good[1], keyPackage="***"),
        {},
        package_item(Phone(BOB).packages()[0]),
        package_item(good[1]),
    ]
    answer = wire.call("publishKeyPackages", by=ALICE, keyPackages=items)
    assert (answer["succeeded"], answer["failed"]) == (2, 4)
    assert [one["index"] for one in answer["errors"]] == [1, 2, 3, 4]
    assert KeyPackage.objects.count() == 2


def test_a_good_batch_has_no_errors(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=0)
    items = [package_item(package) for package in phone.packages(5)]
    first = wire.call("publishKeyPackages", by=ALICE, keyPackages=items)
    assert first.body == {"succeeded": 5, "failed": 0}
    with leaves_no_trace():
        assert wire.call("publishKeyPackages", by=ALICE, keyPackages=items).body == first.body


def test_items_past_the_limit_are_refused_one_by_one(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=98)
    items = [package_item(package) for package in phone.packages(4)]
    answer = wire.call("publishKeyPackages", by=ALICE, keyPackages=items)
    assert (answer["succeeded"], answer["failed"]) == (2, 2)
    assert all("TooManyKeyPackages" in one["error"] for one in answer["errors"])


def test_refusals(wire: Wire) -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=0)
    item = package_item(phone.packages()[0])
    with leaves_no_trace():
        assert wire.call("publishKeyPackages", by=ALICE, keyPackages=[]).refusal == (400, "InvalidBatch")
        assert wire.call("publishKeyPackages", by=ALICE, keyPackages=[item] * 101).refusal == (400, "BatchTooLarge")
        assert wire.call("publishKeyPackages", by=ALICE, keyPackages=[1]).refusal == (400, "InvalidRequest")
        assert wire.call("publishKeyPackages", by=ALICE).refusal == (400, "InvalidRequest")
        assert wire.call("publishKeyPackages", by=None).refusal == (401, "AuthenticationRequired")
