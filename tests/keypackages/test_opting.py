"""blue.catbird.mls.optIn, optOut, getOptInStatus"""

import pytest

from keypackages.models import OptIn
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import a_device

pytestmark = pytest.mark.django_db


def test_who_opted_out_cannot_be_invited(wire: Wire) -> None:
    a_device(Phone(BOB))
    assert wire.call("optOut", by=BOB).body == {"success": True}
    answer = wire.call("getKeyPackages", by=ALICE, dids=[BOB])
    assert (answer["keyPackages"], answer["missing"]) == ([], [BOB])
    wire.call("optIn", by=BOB, deviceId="any")
    assert len(wire.call("getKeyPackages", by=ALICE, dids=[BOB])["keyPackages"]) == 1


def test_the_status_tells_who_may_be_invited(wire: Wire) -> None:
    wire.call("optOut", by=BOB)
    since = wire.call("optIn", by=CAROL)["optedInAt"]
    answer = wire.call("getOptInStatus", by=ALICE, dids=[ALICE, BOB, CAROL])
    assert answer["statuses"] == [
        {"did": ALICE, "optedIn": True},
        {"did": BOB, "optedIn": False},
        {"did": CAROL, "optedIn": True, "optedInAt": since},
    ]


@pytest.mark.parametrize("method", ["optIn", "optOut"])
def test_saying_it_again_changes_nothing(wire: Wire, method: str) -> None:
    first = wire.call(method, by=BOB)
    with leaves_no_trace():
        assert wire.call(method, by=BOB).body == first.body
    assert OptIn.objects.count() == 1


def test_refusals(wire: Wire) -> None:
    with leaves_no_trace():
        assert wire.call("optIn", by=None).refusal == (401, "AuthenticationRequired")
        assert wire.call("optOut", by=None).refusal == (401, "AuthenticationRequired")
        assert wire.call("getOptInStatus", by=None, dids=[BOB]).refusal == (401, "AuthenticationRequired")
        assert wire.call("getOptInStatus", by=ALICE, dids=["bob"]).refusal == (400, "InvalidRequest")
        many = [f"did:plc:friend{number}" for number in range(101)]
        assert wire.call("getOptInStatus", by=ALICE, dids=many).refusal == (400, "InvalidRequest")
