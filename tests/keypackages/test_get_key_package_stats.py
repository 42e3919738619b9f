"""blue.catbird.mls.getKeyPackageStats"""

import pytest

from tests.conftest import Wire
from tests.devices import ALICE, BOB, SUITE, Phone
from tests.situations import a_convo, a_device

pytestmark = pytest.mark.django_db


def test_the_numbers_are_those_of_the_packages(wire: Wire) -> None:
    bob = Phone(BOB)
    a_device(bob, packages=5)
    a_convo(Phone(ALICE), bob)
    stats = wire.call("getKeyPackageStats", by=BOB)
    assert (stats["available"], stats["total"], stats["consumed"]) == (4, 5, 1)
    assert (stats["consumedLast24h"], stats["consumedLast7d"]) == (1, 1)
    assert stats["needsReplenish"] is True
    assert stats["byCipherSuite"] == [{"cipherSuite": SUITE, "available": 4, "consumed": 1}]


def test_an_empty_account_has_nothing(wire: Wire) -> None:
    stats = wire.call("getKeyPackageStats", by=ALICE, did=ALICE, cipherSuite=SUITE)
    assert (stats["available"], stats["total"], stats["byCipherSuite"]) == (0, 0, [])
    assert "oldestExpiresIn" not in stats.body


def test_refusals(wire: Wire) -> None:
    assert wire.call("getKeyPackageStats", by=ALICE, did=BOB).refusal == (403, "Forbidden")
    assert wire.call("getKeyPackageStats", by=ALICE, did="bob").refusal == (400, "InvalidDid")
    assert wire.call("getKeyPackageStats", by=None).refusal == (401, "AuthenticationRequired")
