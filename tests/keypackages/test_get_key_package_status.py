"""blue.catbird.mls.getKeyPackageStatus and getKeyPackageHistory"""

from datetime import timedelta

import pytest
from django.utils import timezone

from keypackages.models import KeyPackage, Welcome
from keypackages.services import drop_expired_packages, purge_spent_packages
from tests.conftest import Wire
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_convo, a_device, add_unjoined

pytestmark = pytest.mark.django_db


def test_the_status_is_what_has_become_of_the_packages(wire: Wire) -> None:
    bob = Phone(BOB)
    a_device(bob, packages=4)
    joined = a_convo(Phone(ALICE), bob)
    waiting = a_convo(Phone(ALICE))
    add_unjoined(waiting, waiting.founder, bob)
    answer = wire.call("getKeyPackageStatus", by=BOB)
    assert (answer["totalUploaded"], answer["available"], answer["consumed"], answer["reserved"]) == (4, 2, 1, 1)
    (used,) = answer["consumedPackages"]
    assert used["usedInGroup"] == joined.id


def test_the_history_names_convo_and_device(wire: Wire) -> None:
    alice, bob = Phone(ALICE), Phone(BOB)
    a_device(bob, packages=2)
    talk = a_convo(alice, bob)
    history = wire.call("getKeyPackageHistory", by=BOB)["history"]
    assert len(history) == 2
    (used,) = (one for one in history if "consumedAt" in one)
    assert (used["consumedForConvo"], used["consumedByDevice"]) == (talk.id, alice.device_id)
    assert used["deviceId"] == bob.device_id


def test_pages_follow_one_another(wire: Wire) -> None:
    a_device(Phone(BOB), packages=5)
    first = wire.call("getKeyPackageHistory", by=BOB, limit=3)
    second = wire.call("getKeyPackageHistory", by=BOB, limit=3, cursor=first["cursor"])
    ids = [one["packageId"] for page in (first, second) for one in page["history"]]
    assert len(set(ids)) == 5
    assert "cursor" not in second.body


def test_the_numbers_stay_true_after_a_purge(wire: Wire) -> None:
    bob = Phone(BOB)
    a_device(bob, packages=3)
    a_convo(Phone(ALICE), bob)
    Welcome.objects.update(state="confirmed")
    before = wire.call("getKeyPackageStats", by=BOB)
    KeyPackage.objects.filter(did=BOB).update(expires_at=timezone.now() - timedelta(days=31))
    assert (drop_expired_packages(), purge_spent_packages()) == (2, 1)
    after = wire.call("getKeyPackageStats", by=BOB)
    assert (after["total"], after["consumed"], after["available"]) == (before["total"], before["consumed"], 0)
    assert wire.call("getKeyPackageStatus", by=BOB)["totalUploaded"] == 3


@pytest.mark.parametrize("method", ["getKeyPackageStatus", "getKeyPackageHistory"])
def test_refusals(wire: Wire, method: str) -> None:
    assert wire.call(method, by=ALICE, cursor="x").refusal == (400, "InvalidCursor")
    assert wire.call(method, by=ALICE, limit=101).refusal == (400, "InvalidRequest")
    assert wire.call(method, by=None).refusal == (401, "AuthenticationRequired")
