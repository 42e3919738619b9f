"""blue.catbird.mls.addMembers, in convos whose commits cannot be read"""

import base64
from typing import Any
from uuid import uuid4

import pytest

from conversations.models import Member, Message
from keypackages.models import KeyPackage, Welcome
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, SUITE, Phone
from tests.situations import Talk, a_convo, a_device, packages_of
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), tracked=False)


@pytest.fixture
def bob() -> Phone:
    phone = Phone(BOB)
    a_device(phone)
    return phone


def given(talk: Talk, *phones: Phone) -> dict[str, Any]:
    made = talk.founder.group(talk.id).commit(add=packages_of(*phones), with_tree=True)
    assert made.welcome is not None
    return {
        "convoId": talk.id,
        "didList": [phone.did for phone in phones],
        "commit": b64(made.commit),
        "welcomeMessage": b64(made.welcome),
    }


def add(wire: Wire, talk: Talk, *phones: Phone) -> Answer:
    answer = wire.call("addMembers", by=ALICE, **given(talk, *phones))
    talk.founder.group(talk.id).confirm()
    return answer


def test_the_welcome_says_which_devices_come_in(wire: Wire, talk: Talk, bob: Phone) -> None:
    assert add(wire, talk, bob).body == {"success": True, "newEpoch": 1, "seq": 1}
    assert Member.objects.get(did=BOB).device_id == bob.device_id
    answer = wire.call("getWelcome", by=BOB, convoId=talk.id)
    assert "ratchetTree" not in answer.body
    assert bob.client.join(base64.b64decode(answer["welcome"])).active


def test_creating_with_members_and_then_adding_them_moves_from_zero_to_one(wire: Wire, bob: Phone) -> None:
    alice = Phone(ALICE)
    a_device(alice)
    convo_id = uuid4().hex
    made = alice.client.create_group(bytes.fromhex(convo_id), private_handshake=True).commit(add=packages_of(bob))
    assert made.welcome is not None
    welcome = {"welcomeMessage": b64(made.welcome)}
    created = {"groupId": convo_id, "cipherSuite": SUITE, "initialMembers": [BOB]} | welcome
    assert wire.call("createConvo", by=ALICE, **created)["epoch"] == 0
    added = {"convoId": convo_id, "didList": [BOB], "commit": b64(made.commit)} | welcome
    assert wire.call("addMembers", by=ALICE, **added)["newEpoch"] == 1
    assert Welcome.objects.count() == 1
    assert KeyPackage.objects.filter(spent_at__isnull=False).count() == 1
    assert Member.objects.filter(did=BOB).count() == 1


def test_the_commit_is_ordered_by_the_epoch_it_was_made_for(wire: Wire, talk: Talk, bob: Phone) -> None:
    made = talk.founder.group(talk.id).commit(update=True)
    given = {"convoId": talk.id, "didList": [], "commit": b64(made.commit)}
    assert wire.call("addMembers", by=ALICE, **given)["newEpoch"] == 1
    with leaves_no_trace():
        assert wire.call("addMembers", by=ALICE, **given).body["newEpoch"] == 1
    talk.founder.group(talk.id).discard()
    late = talk.founder.group(talk.id).commit(update=True)
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, **given | {"commit": b64(late.commit)})
    assert (answer.refusal, answer["currentEpoch"]) == ((409, "EpochMismatch"), 1)
    assert Message.objects.filter(convo_id=talk.id).count() == 1


def test_a_member_that_is_in_already_is_named(wire: Wire, talk: Talk, bob: Phone) -> None:
    add(wire, talk, bob)
    made = talk.founder.group(talk.id).commit(update=True)
    given = {"convoId": talk.id, "didList": [BOB], "commit": b64(made.commit)}
    with leaves_no_trace():
        assert wire.call("addMembers", by=ALICE, **given).refusal == (409, "AlreadyMember")


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"commit": "AAAA"}, (400, "InvalidCommit")),
        ({"welcomeMessage": "AAAA"}, (400, "InvalidWelcome")),
        ({"keyPackageHashes": [{"did": CAROL, "hash": "00" * 32}]}, (400, "InvalidWelcome")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, bob: Phone, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    by = (changes := dict(changes)).pop("by", ALICE)
    made = given(talk, bob) | changes
    with leaves_no_trace():
        assert wire.call("addMembers", by=by, **made).refusal == refusal


def test_a_commit_of_another_group_is_refused(wire: Wire, talk: Talk) -> None:
    other = talk.founder.client.create_group(uuid4().bytes, private_handshake=True).commit(update=True)
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, convoId=talk.id, didList=[], commit=b64(other.commit))
    assert answer.refusal == (400, "InvalidCommit")
