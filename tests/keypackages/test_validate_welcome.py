"""blue.catbird.mls.validateWelcome"""

import pytest

from keypackages.models import KeyPackage
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import Talk, a_convo, a_device, packages_of
from tests.wiring import wire_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    for did in (BOB, CAROL):
        a_device(Phone(did))
    return a_convo(Phone(ALICE))


def welcome_for(talk: Talk, did: str) -> dict[str, str]:
    phone = Phone(did)
    phone.device_id = KeyPackage.objects.filter(did=did).values_list("device_id", flat=True)[0]
    made = talk.founder.add(talk.id, packages_of(phone))
    talk.founder.group(talk.id).discard()
    assert made.welcome is not None
    return wire_bytes(made.welcome)


def test_a_welcome_for_an_unused_package_is_valid_and_nothing_is_used(wire: Wire, talk: Talk) -> None:
    welcome = welcome_for(talk, BOB)
    with leaves_no_trace():
        answer = wire.call("validateWelcome", by=BOB, welcomeMessage=welcome)
    assert (answer["valid"], answer["recipientDid"], answer["reserved"]) == (True, BOB, False)


def test_one_that_was_sent_is_reserved_for_its_convo(wire: Wire, talk: Talk) -> None:
    welcome = welcome_for(talk, BOB)
    reference = wire.call("validateWelcome", by=BOB, welcomeMessage=welcome)["keyPackageHash"]
    package = KeyPackage.objects.get(reference=bytes.fromhex(reference))
    package.spent_at, package.spent_in_convo = package.published_at, talk.id
    package.save()
    answer = wire.call("validateWelcome", by=BOB, welcomeMessage=welcome)
    assert (answer["reserved"], answer["groupId"]) == (True, talk.id)
    package.consumed_at = package.published_at
    package.save()
    refused = wire.call("validateWelcome", by=BOB, welcomeMessage=welcome)
    assert refused.refusal == (410, "KeyPackageAlreadyConsumed")


def test_refusals(wire: Wire, talk: Talk) -> None:
    welcome = welcome_for(talk, BOB)
    unknown = talk.founder.add(talk.id, Phone(BOB).packages()).welcome
    assert unknown is not None
    with leaves_no_trace():
        for by, given, refusal in (
            (CAROL, welcome, (403, "RecipientMismatch")),
            (BOB, wire_bytes(unknown), (409, "KeyPackageNotFound")),
            (BOB, "AAAA", (400, "InvalidWelcome")),
            (BOB, "***", (400, "InvalidRequest")),
            (None, welcome, (401, "AuthenticationRequired")),
        ):
            assert wire.call("validateWelcome", by=by, welcomeMessage=given).refusal == refusal
