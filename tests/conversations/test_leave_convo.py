"""blue.catbird.mls.leaveConvo"""

from typing import Any

import pytest

from conversations.models import Member, Proposal
from delivery.models import Mailbox
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, leaf_of
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))


def leave(wire: Wire, talk: Talk, *, by: str | None = BOB, **changes: Any) -> Answer:
    """The valid call, with one thing changed."""
    proposal = talk.phones[1].group(talk.id).propose_self_remove()
    return wire.call("leaveConvo", by=by, **{"convoId": talk.id, "commit": b64(proposal)} | changes)


def committed(wire: Wire, talk: Talk, **options: Any) -> Answer:
    """The founder commits what it knows of."""
    made = talk.founder.group(talk.id).commit(update=True, **options)
    given = {"convoId": talk.id, "didList": [], "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    return wire.call("addMembers", by=ALICE, **given)


def test_who_leaves_is_out_at_once_and_its_leaf_when_somebody_commits(wire: Wire, talk: Talk) -> None:
    proposal = talk.phones[1].group(talk.id).propose_self_remove()
    assert wire.call("leaveConvo", by=BOB, convoId=talk.id, commit=b64(proposal)).body == {
        "success": True,
        "newEpoch": 1,
    }
    assert wire.call("getEpoch", by=BOB, convoId=talk.id).refusal == (403, "NotMember")
    assert Member.objects.get(did=BOB).left_at is None
    entry = wire.call("getMessages", by=ALICE, convoId=talk.id, sinceSeq=1)["messages"][0]
    assert (entry["messageType"], entry["epoch"], entry["seq"]) == ("proposal", 1, 2)

    talk.founder.group(talk.id).process(proposal)
    assert committed(wire, talk)["newEpoch"] == 2
    assert Member.objects.get(did=BOB).left_how == "left"
    assert not Proposal.objects.exists()
    assert Mailbox.objects.get(did=BOB).last_seq == 2


def test_a_commit_may_not_leave_the_leaver_in(wire: Wire, talk: Talk) -> None:
    leave(wire, talk)
    with leaves_no_trace():
        answer = committed(wire, talk)
    assert answer.refusal == (400, "InvalidCommit")
    assert answer["message"].startswith("commit.pending_removal_left_out")


def test_removing_the_leaver_by_value_will_do(wire: Wire, talk: Talk) -> None:
    leave(wire, talk)
    assert committed(wire, talk, remove=[leaf_of(talk, BOB)])["newEpoch"] == 2


def test_anybody_may_commit_the_removal_of_a_leaver(wire: Wire, talk: Talk) -> None:
    leave(wire, talk)
    made = talk.phones[2].group(talk.id).commit(remove=[leaf_of(talk, BOB)])
    given = {"convoId": talk.id, "didList": [], "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    assert wire.call("addMembers", by=CAROL, **given).status == 200


def test_leaving_without_a_proposal_is_left_to_the_members(wire: Wire, talk: Talk) -> None:
    assert leave(wire, talk, commit=None).status == 200
    assert Member.objects.get(did=BOB).leaving_at is not None
    assert committed(wire, talk)["newEpoch"] == 2


def test_leaving_twice_gets_the_same_answer(wire: Wire, talk: Talk) -> None:
    first = leave(wire, talk, commit=None)
    with leaves_no_trace():
        assert leave(wire, talk, commit=None).body == first.body


def test_one_device_may_leave_alone(wire: Wire) -> None:
    laptop = Phone(BOB, "laptop")
    talk = a_convo(Phone(ALICE), Phone(BOB), laptop)
    assert wire.call("leaveConvo", by=BOB, convoId=talk.id, deviceId=laptop.device_id).status == 200
    assert wire.call("getEpoch", by=BOB, convoId=talk.id).status == 200
    assert Member.objects.get(device_id=laptop.device_id).leaving_at is not None


def test_the_last_account_closes_the_convo(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    assert wire.call("leaveConvo", by=ALICE, convoId=talk.id).status == 200
    assert talk.convo.closed_at is not None
    assert wire.call("getEpoch", by=ALICE, convoId=talk.id).refusal == (404, "ConvoNotFound")
    assert wire.call("getEpoch", by=MALLORY, convoId=talk.id).refusal == (403, "NotMember")


def test_when_the_last_admin_leaves_the_eldest_member_takes_over(wire: Wire, talk: Talk) -> None:
    wire.call("leaveConvo", by=ALICE, convoId=talk.id)
    eldest, other = Member.objects.exclude(did=ALICE).order_by("joined_seq", "pk")
    assert (eldest.is_admin, other.is_admin) == (True, False)


def test_an_opaque_convo_is_left_completely_at_once(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=False)
    assert wire.call("leaveConvo", by=BOB, convoId=talk.id)["newEpoch"] == 1
    assert Member.objects.get(did=BOB).left_how == "left"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"by": CAROL}, (400, "InvalidCommit")),
        ({"targetDid": CAROL}, (403, "Forbidden")),
        ({"targetDid": "bob"}, (400, "InvalidRequest")),
        ({"convoId": "nowhere"}, (403, "NotMember")),
        ({"commit": "AAAA"}, (400, "InvalidCommit")),
        ({"commit": "***"}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        answer = leave(wire, talk, **changes)
        assert answer.refusal == refusal, answer.body


def test_a_proposal_to_remove_somebody_else_is_no_leave(wire: Wire, talk: Talk) -> None:
    proposal = talk.phones[1].group(talk.id).propose_remove(leaf_of(talk, CAROL))
    with leaves_no_trace():
        assert leave(wire, talk, commit=b64(proposal)).refusal == (400, "InvalidCommit")
