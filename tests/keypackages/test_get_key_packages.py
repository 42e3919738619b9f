"""blue.catbird.mls.getKeyPackages"""

import pytest
from django.db import transaction
from pytest_django import DjangoAssertNumQueries

from keypackages.models import KeyPackage
from keypackages.services import publish_key_package, spend_key_packages
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, SUITE, Phone
from tests.situations import a_device

pytestmark = pytest.mark.django_db


def handed(wire: Wire, **fields: object) -> list[str]:
    answer = wire.call("getKeyPackages", by=ALICE, **fields)
    return [one["keyPackageHash"] for one in answer["keyPackages"]]


def test_every_device_of_every_account_gets_one(wire: Wire) -> None:
    for phone in (Phone(BOB), Phone(BOB, "laptop"), Phone(CAROL)):
        a_device(phone, packages=3)
    answer = wire.call("getKeyPackages", by=ALICE, dids=[BOB, CAROL, ALICE])
    assert sorted(one["did"] for one in answer["keyPackages"]) == [BOB, BOB, CAROL]
    assert answer["missing"] == [ALICE]


def test_two_askers_seldom_meet_on_one_package(wire: Wire) -> None:
    a_device(Phone(BOB), packages=3)
    seen = [handed(wire, dids=[BOB])[0] for _ in range(3)]
    assert len(set(seen)) == 3
    assert handed(wire, dids=[BOB]) == [seen[0]]


def test_looking_spends_nothing(wire: Wire) -> None:
    a_device(Phone(BOB), packages=1)
    assert handed(wire, dids=[BOB]) == handed(wire, dids=[BOB])
    assert KeyPackage.objects.filter(spent_at__isnull=True).count() == 1


def test_a_spent_package_is_never_handed_out(wire: Wire) -> None:
    a_device(Phone(BOB), packages=2)
    spent = bytes.fromhex(handed(wire, dids=[BOB])[0])
    with transaction.atomic():
        spend_key_packages(convo_id="elsewhere", references=[spent])
    assert {tuple(handed(wire, dids=[BOB])) for _ in range(3)} != {(spent.hex(),)}
    assert spent.hex() not in handed(wire, dids=[BOB])


def test_a_last_resort_is_given_when_nothing_else_is_left(wire: Wire) -> None:
    phone = Phone(BOB)
    a_device(phone, packages=1)
    ordinary = handed(wire, dids=[BOB])[0]
    publish_key_package(did=BOB, item={"key_package": phone.packages(last_resort=True)[0], "cipher_suite": SUITE})
    assert handed(wire, dids=[BOB]) == [ordinary]
    with transaction.atomic():
        spend_key_packages(convo_id="elsewhere", references=[bytes.fromhex(ordinary)])
    assert handed(wire, dids=[BOB]) != [ordinary]
    assert len(handed(wire, dids=[BOB])) == 1


def test_the_suite_narrows(wire: Wire) -> None:
    a_device(Phone(BOB))
    assert handed(wire, dids=[BOB], cipherSuite="MLS_128_DHKEMP256_AES128GCM_SHA256_P256") == []
    assert len(handed(wire, dids=[BOB], cipherSuite=SUITE)) == 1


def test_queries_do_not_grow_with_the_accounts_asked_for(
    wire: Wire, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    accounts = [f"did:plc:friend{number}" for number in range(20)]
    for did in accounts:
        a_device(Phone(did), packages=1)
    with django_assert_num_queries(2):
        assert len(handed(wire, dids=accounts)) == 20


def test_refusals(wire: Wire) -> None:
    many = [f"did:plc:friend{number}" for number in range(101)]
    with leaves_no_trace():
        assert wire.call("getKeyPackages", by=ALICE, dids=many).refusal == (400, "TooManyDids")
        assert wire.call("getKeyPackages", by=ALICE).refusal == (400, "InvalidRequest")
        assert wire.call("getKeyPackages", by=ALICE, dids=["bob"]).refusal == (400, "InvalidDid")
        assert wire.call("getKeyPackages", by=None, dids=[BOB]).refusal == (401, "AuthenticationRequired")
