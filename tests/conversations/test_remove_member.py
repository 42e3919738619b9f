"""blue.catbird.mls.removeMember"""

import base64
from typing import Any

import pytest

from conversations.models import Member
from delivery.models import Mailbox
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(BOB, "laptop"), Phone(CAROL))


def remove(wire: Wire, talk: Talk, *, by: str | None = ALICE, remover: int = 0, **changes: Any) -> Answer:
    """The valid call, with one thing changed."""
    group = talk.phones[remover].group(talk.id)
    leaves = [leaf.leaf_index for leaf in group.members() if leaf.identity == BOB.encode()]
    made = group.commit(remove=leaves)
    given = {
        "convoId": talk.id,
        "targetDid": BOB,
        "idempotencyKey": "k1",
        "commit": b64(made.commit),
        "groupInfo": b64(made.group_info),
    }
    return wire.call("removeMember", by=by, **given | changes)


def test_every_device_of_the_account_goes_by_one_commit(wire: Wire, talk: Talk) -> None:
    answer = remove(wire, talk)
    assert (answer["ok"], answer["epochHint"], answer["newEpoch"], answer["seq"]) == (True, 2, 2, 2)
    gone = Member.objects.filter(did=BOB)
    assert set(gone.values_list("left_how", "left_seq", "left_epoch")) == {("removed", 2, 2)}
    assert set(Mailbox.objects.filter(did=BOB).values_list("last_seq", flat=True)) == {2}


def test_the_removed_learn_of_it_and_read_no_further(wire: Wire, talk: Talk) -> None:
    remove(wire, talk)
    talk.founder.group(talk.id).confirm()
    page = wire.call("getMessages", by=BOB, convoId=talk.id)
    bob = talk.phones[1]
    for entry in page["messages"]:
        bob.group(talk.id).process(base64.b64decode(entry["ciphertext"]["$bytes"]))
    assert not bob.group(talk.id).active
    assert wire.call("getMessages", by=BOB, convoId=talk.id, sinceSeq=2).refusal == (403, "NotMember")


def test_repeating_it_gets_the_first_answer(wire: Wire, talk: Talk) -> None:
    group = talk.founder.group(talk.id)
    leaves = [leaf.leaf_index for leaf in group.members() if leaf.identity == BOB.encode()]
    made = group.commit(remove=leaves)
    given = {"convoId": talk.id, "targetDid": BOB, "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    first = wire.call("removeMember", by=ALICE, idempotencyKey="k1", **given)
    with leaves_no_trace():
        assert wire.call("removeMember", by=ALICE, idempotencyKey="k1", **given).body == first.body
    assert wire.call("removeMember", by=ALICE, idempotencyKey="k2", **given).body == first.body


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"by": CAROL, "remover": 3}, (403, "NotAdmin")),
        ({"targetDid": ALICE}, (400, "CannotRemoveSelf")),
        ({"targetDid": MALLORY}, (403, "NotMember")),
        ({"targetDid": CAROL}, (400, "InvalidCommit")),
        ({"targetDid": "bob"}, (400, "InvalidRequest")),
        ({"convoId": "nowhere"}, (403, "NotMember")),
        ({"commit": None}, (400, "InvalidCommit")),
        ({"commit": "AAAA"}, (400, "InvalidCommit")),
        ({"groupInfo": None}, (400, "InvalidCommit")),
        ({"idempotencyKey": None}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        answer = remove(wire, talk, **changes)
        assert answer.refusal == refusal, answer.body


def test_a_ghost_of_an_opaque_roster_goes_without_a_commit(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=False)
    answer = wire.call("removeMember", by=ALICE, convoId=talk.id, targetDid=BOB, idempotencyKey="k1")
    assert answer["epochHint"] == 1
    assert Member.objects.get(did=BOB).left_how == "removed"
    assert wire.call("getEpoch", by=BOB, convoId=talk.id).refusal == (403, "NotMember")
