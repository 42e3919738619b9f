"""blue.catbird.mls.getEpoch"""

import pytest

from tests.conftest import Wire
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import a_convo, bring_in

pytestmark = pytest.mark.django_db


def test_the_epoch_is_the_one_the_last_commit_led_to(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    assert wire.call("getEpoch", by=BOB, convoId=talk.id).body == {"convoId": talk.id, "currentEpoch": 1}
    bring_in(talk, talk.founder, Phone(CAROL))
    assert wire.call("getEpoch", by=BOB, convoId=talk.id)["currentEpoch"] == 2


def test_refusals(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    assert wire.call("getEpoch", by=MALLORY, convoId=talk.id).refusal == (403, "NotMember")
    assert wire.call("getEpoch", by=ALICE, convoId="nowhere").refusal == (403, "NotMember")
    assert wire.call("getEpoch", by=ALICE).refusal == (400, "InvalidRequest")
    assert wire.call("getEpoch", by=None, convoId=talk.id).refusal == (401, "AuthenticationRequired")
