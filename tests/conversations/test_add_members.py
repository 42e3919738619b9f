"""blue.catbird.mls.addMembers"""

import base64
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from openmls.client import CommitBundle, Signer

from conversations import conflicts
from conversations.models import GroupState, Member, Message
from conversations.selectors import Asking
from conversations.services import add_members
from delivery.models import Dispatch, Mailbox
from keypackages.models import KeyPackage, Welcome, WelcomeBody
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device, bring_in, bundle_of, leaf_of, packages_of, remove, update
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB))


@pytest.fixture
def carol() -> Phone:
    phone = Phone(CAROL)
    a_device(phone)
    return phone


def given(talk: Talk, made: CommitBundle, *dids: str) -> dict[str, Any]:
    fields = {"convoId": talk.id, "didList": list(dids), "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    return fields | ({"welcomeMessage": b64(made.welcome)} if made.welcome else {})


def adding(talk: Talk, phone: Phone) -> CommitBundle:
    return talk.founder.add(talk.id, packages_of(phone))


def add(wire: Wire, talk: Talk, phone: Phone, **changes: Any) -> Answer:
    return wire.call("addMembers", by=ALICE, **given(talk, adding(talk, phone), phone.did) | changes)


def test_commit_member_welcome_and_package_appear_together(wire: Wire, talk: Talk, carol: Phone) -> None:
    answer = add(wire, talk, carol)
    assert answer.body == {"success": True, "newEpoch": 2, "seq": 2}
    commit = Message.objects.get(convo_id=talk.id, seq=2)
    assert (commit.kind, commit.epoch, commit.sender_did) == ("commit", 2, ALICE)
    member = Member.objects.get(did=CAROL)
    assert (member.device_id, member.leaf_index, member.joined_seq, member.joined_epoch) == (carol.device_id, 2, 2, 2)
    assert Mailbox.objects.get(did=CAROL).first_seq == 3
    assert Dispatch.objects.filter(seq=2).exists()
    assert KeyPackage.objects.get(did=CAROL, spent_at__isnull=False).spent_in_convo == talk.id
    assert Welcome.objects.get(did=CAROL).state == "waiting"


def test_the_roster_is_the_tree_and_the_state_is_the_clients(wire: Wire, talk: Talk, carol: Phone) -> None:
    add(wire, talk, carol)
    group = talk.founder.group(talk.id)
    group.confirm()
    rows = Member.objects.filter(convo_id=talk.id, left_at__isnull=True)
    leaves = {(leaf.leaf_index, (leaf.identity or b"").decode()) for leaf in group.members()}
    assert set(rows.values_list("leaf_index", "did")) == leaves
    state = GroupState.objects.get(convo_id=talk.id)
    assert state.epoch == 2
    assert bytes(state.ratchet_tree) == group.ratchet_tree()


def test_the_new_member_joins_and_reads(wire: Wire, talk: Talk, carol: Phone) -> None:
    bring_in(talk, talk.founder, carol)
    said = talk.founder.group(talk.id).encrypt(b"welcome")
    assert carol.group(talk.id).process(said).data == b"welcome"


def test_several_devices_come_in_by_one_commit_and_one_copy_of_the_welcome(wire: Wire, talk: Talk) -> None:
    phone, laptop = Phone(CAROL), Phone(CAROL, "laptop")
    bring_in(talk, talk.founder, phone, laptop)
    assert Member.objects.filter(did=CAROL).count() == 2
    assert WelcomeBody.objects.filter(epoch=2).count() == 1
    said = talk.founder.group(talk.id).encrypt(b"both")
    assert {one.group(talk.id).process(said).data for one in (phone, laptop)} == {b"both"}


def test_ones_own_other_device_is_an_admin_too(wire: Wire, talk: Talk) -> None:
    bring_in(talk, talk.founder, Phone(ALICE, "laptop"))
    assert set(Member.objects.filter(did=ALICE).values_list("is_admin", flat=True)) == {True}


def test_without_names_any_commit_is_welcome(wire: Wire, talk: Talk) -> None:
    made = talk.founder.group(talk.id).commit(update=True)
    assert wire.call("addMembers", by=ALICE, **given(talk, made))["newEpoch"] == 2


def test_the_group_info_may_carry_the_tree_when_it_is_the_new_one(wire: Wire, talk: Talk, carol: Phone) -> None:
    made = talk.founder.group(talk.id).commit(add=packages_of(carol), with_tree=True)
    assert wire.call("addMembers", by=ALICE, **given(talk, made, CAROL)).status == 200
    assert bytes(GroupState.objects.get().group_info) == made.group_info


@pytest.mark.parametrize("key", [{}, {"idempotencyKey": "k1"}])
def test_repeating_the_request_gets_the_first_answer(wire: Wire, talk: Talk, carol: Phone, key: dict[str, str]) -> None:
    made = given(talk, adding(talk, carol), CAROL) | key
    first = wire.call("addMembers", by=ALICE, **made)
    with leaves_no_trace():
        assert wire.call("addMembers", by=ALICE, **made).body == first.body


def test_a_key_stands_for_one_request_only(wire: Wire, talk: Talk, carol: Phone) -> None:
    add(wire, talk, carol, idempotencyKey="k1")
    talk.founder.group(talk.id).confirm()
    made = given(talk, talk.founder.group(talk.id).commit(update=True))
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, **made, idempotencyKey="k1")
    assert answer.refusal == (409, "IdempotencyConflict")


def test_the_loser_of_a_race_is_told_the_epoch(wire: Wire, talk: Talk, carol: Phone) -> None:
    late = adding(talk, carol)
    talk.founder.group(talk.id).discard()
    update(talk, talk.phones[1])
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, **given(talk, late, CAROL))
    assert answer.refusal == (409, "EpochMismatch")
    assert (answer["currentEpoch"], answer["lastSeq"], answer["yours"]) == (2, 2, False)
    (missed,) = answer["missedCommits"]
    assert (missed["epoch"], missed["sender"]) == (2, BOB)
    assert answer["pendingProposals"] == []


def test_the_answer_to_a_loser_is_enough_to_go_on_from(wire: Wire, talk: Talk, carol: Phone) -> None:
    """Alice loses to two commits and a leaver, and makes her next commit from what the refusal says."""
    bring_in(talk, talk.founder, Phone("did:plc:dora"))
    alice, bob, dora = talk.phones
    late = adding(talk, carol)
    alice.group(talk.id).discard()
    for phone in (bob, dora):
        made = phone.group(talk.id).commit(update=True)
        wire.call("addMembers", by=phone.did, **given(talk, made))
        phone.group(talk.id).confirm()
        other = dora if phone is bob else bob
        other.group(talk.id).process(made.commit)
    proposal = dora.group(talk.id).propose_self_remove()
    wire.call("leaveConvo", by=dora.did, convoId=talk.id, commit=b64(proposal))

    refusal = wire.call("addMembers", by=ALICE, **given(talk, late, CAROL))
    told = [entry["commitData"]["$bytes"] for entry in refusal["missedCommits"]]
    for entry in told + [pending["$bytes"] for pending in refusal["pendingProposals"]]:
        alice.group(talk.id).process(base64.b64decode(entry))
    assert wire.call("addMembers", by=ALICE, **given(talk, adding(talk, carol), CAROL))["newEpoch"] == 5


def test_a_long_way_behind_is_told_in_pages(wire: Wire, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "MISSED_COMMITS_MAX", 2)
    alice, bob = talk.phones
    made = given(talk, alice.group(talk.id).commit(update=True))
    alice.group(talk.id).discard()
    for _ in range(3):
        update(talk, bob)
    refusal = wire.call("addMembers", by=ALICE, **made)
    assert [entry["epoch"] for entry in refusal["missedCommits"]] == [2, 3]
    rest = wire.call("getCommits", by=ALICE, convoId=talk.id, fromEpoch=0, cursor=refusal["cursor"])
    assert [entry["epoch"] for entry in rest["commits"]] == [4]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"convoId": "nowhere"}, (403, "NotMember")),
        ({"commit": "***"}, (400, "InvalidRequest")),
        ({"commit": None}, (400, "InvalidCommit")),
        ({"commit": "AAAA"}, (400, "InvalidCommit")),
        ({"didList": None}, (400, "InvalidRequest")),
        ({"didList": ["carol"]}, (400, "InvalidRequest")),
        ({"didList": [BOB]}, (400, "InvalidCommit")),
        ({"didList": [f"did:plc:x{n}" for n in range(51)]}, (400, "InvalidRequest")),
        ({"groupInfo": None}, (400, "InvalidCommit")),
        ({"groupInfo": "AAAA"}, (400, "InvalidGroupInfo")),
        ({"welcomeMessage": None}, (400, "InvalidWelcome")),
        ({"welcomeMessage": "AAAA"}, (400, "InvalidWelcome")),
        ({"keyPackageHashes": [{"did": CAROL, "hash": "00" * 32}]}, (400, "InvalidWelcome")),
        ({"by": BOB}, (400, "InvalidCommit")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, carol: Phone, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    by = (changes := dict(changes)).pop("by", ALICE)
    made = given(talk, adding(talk, carol), CAROL) | changes
    with leaves_no_trace():
        answer = wire.call("addMembers", by=by, **made)
    assert answer.refusal == refusal, answer.body


def tampered(data: bytes) -> bytes:
    return data[:-80] + bytes([data[-80] ^ 1]) + data[-79:]


def _of_a_stranger(talk: Talk, carol: Phone) -> dict[str, Any]:
    mallory = Phone(ALICE)
    group = mallory.client.create_group(bytes.fromhex(talk.id))
    group.commit(update=True)
    group.confirm()
    return given(talk, group.commit(update=True))


def _of_another_group(talk: Talk, carol: Phone) -> dict[str, Any]:
    group = talk.founder.client.create_group(uuid4().bytes)
    group.commit(update=True)
    group.confirm()
    return given(talk, group.commit(update=True))


def _with_another_welcome(talk: Talk, carol: Phone) -> dict[str, Any]:
    made = given(talk, adding(talk, carol), CAROL)
    talk.founder.group(talk.id).discard()
    other = talk.founder.add(talk.id, Phone(MALLORY).packages()).welcome
    assert other is not None
    return made | {"welcomeMessage": b64(other)}


def _with_another_group_info(talk: Talk, carol: Phone) -> dict[str, Any]:
    made = adding(talk, carol)
    talk.founder.group(talk.id).discard()
    other = talk.founder.group(talk.id).commit(update=True).group_info
    return given(talk, made, CAROL) | {"groupInfo": b64(other)}


def _by_private_message(talk: Talk, carol: Phone) -> dict[str, Any]:
    group = Phone(ALICE).client.create_group(bytes.fromhex(talk.id), private_handshake=True)
    group.commit(update=True)
    group.confirm()
    return given(talk, group.commit(update=True))


def _tampered(talk: Talk, carol: Phone) -> dict[str, Any]:
    made = adding(talk, carol)
    return given(talk, made, CAROL) | {"commit": b64(tampered(made.commit))}


def _of_an_unpublished_package(talk: Talk, carol: Phone) -> dict[str, Any]:
    return given(talk, talk.founder.add(talk.id, Phone(CAROL).packages()), CAROL)


@pytest.mark.parametrize(
    ("forge", "refusal"),
    [
        (_tampered, (400, "InvalidCommit")),
        (_of_a_stranger, (400, "InvalidCommit")),
        (_of_another_group, (400, "InvalidCommit")),
        (_by_private_message, (400, "InvalidCommit")),
        (_with_another_welcome, (400, "InvalidWelcome")),
        (_with_another_group_info, (400, "InvalidGroupInfo")),
        (_of_an_unpublished_package, (409, "KeyPackageNotFound")),
    ],
)
def test_a_commit_is_believed_in_nothing(
    wire: Wire, talk: Talk, carol: Phone, forge: Callable[[Talk, Phone], dict[str, Any]], refusal: tuple[int, str]
) -> None:
    forged = forge(talk, carol)
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, **forged)
        assert answer.refusal == refusal, answer.body


def test_a_commit_for_a_coming_epoch_is_refused(wire: Wire, talk: Talk) -> None:
    group = talk.founder.group(talk.id)
    group.commit(update=True)
    group.confirm()
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, **given(talk, group.commit(update=True)))
    assert answer.refusal == (409, "EpochMismatch")


def test_removing_another_account_takes_the_role(wire: Wire, talk: Talk, carol: Phone) -> None:
    bring_in(talk, talk.founder, carol)
    made = talk.phones[1].group(talk.id).commit(remove=[leaf_of(talk, CAROL)])
    with leaves_no_trace():
        assert wire.call("addMembers", by=BOB, **given(talk, made)).refusal == (403, "NotAdmin")


def test_a_removed_member_may_not_add(wire: Wire, talk: Talk, carol: Phone) -> None:
    bob = talk.phones[1]
    made = given(talk, bob.add(talk.id, packages_of(carol)), CAROL)
    remove(talk, talk.founder, BOB)
    with leaves_no_trace():
        assert wire.call("addMembers", by=BOB, **made).refusal == (403, "NotMember")


def test_a_spent_package_admits_nobody_else(wire: Wire, talk: Talk, carol: Phone) -> None:
    package = packages_of(carol)
    other = a_convo(Phone(BOB))
    second = talk.founder.add(talk.id, package)
    first = other.founder.add(other.id, package)
    assert wire.call("addMembers", by=BOB, **given(other, first, CAROL)).status == 200
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, **given(talk, second, CAROL))
    assert answer.refusal == (409, "KeyPackageNotFound")
    assert CAROL in answer["message"]
    assert "hash=" in answer["message"]


def test_a_key_may_be_rotated_to_the_registered_one_only(wire: Wire, talk: Talk) -> None:
    bob = talk.phones[1]
    made = bob.group(talk.id).commit(update=True, new_signer=Signer.generate())
    with leaves_no_trace():
        assert wire.call("addMembers", by=BOB, **given(talk, made)).refusal == (400, "InvalidCommit")


def test_a_device_installed_anew_leaves_its_old_leaf_to_be_removed(wire: Wire, talk: Talk) -> None:
    bob = talk.phones[1]
    anew = Phone(BOB, uuid=bob.uuid)
    a_device(anew)
    assert anew.device_id == bob.device_id
    made = adding(talk, anew)
    assert wire.call("addMembers", by=ALICE, **given(talk, made, BOB)).status == 200
    old, new = Member.objects.filter(did=BOB).order_by("leaf_index")
    assert (old.leaving_at is not None, new.leaving_at, old.left_at) == (True, None, None)


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "opaque"])
def test_many_newcomers_take_as_many_queries_as_few(tracked: bool) -> None:
    took = []
    for count in (2, 20):
        phones = [Phone(f"did:plc:{count}newcomer{number}") for number in range(count)]
        for phone in phones:
            a_device(phone)
        alice = Phone(ALICE, f"alice's for {count}")
        talk = a_convo(alice, tracked=tracked)
        made = bundle_of(alice.group(talk.id).commit(add=packages_of(*phones), with_tree=not tracked))
        with CaptureQueriesContext(connection) as asked:
            add_members(
                convo_id=talk.id,
                who=Asking(ALICE, alice.device_id),
                dids=[phone.did for phone in phones],
                bundle=made,
                key=None,
            )
        took.append([query["sql"][:90] for query in asked])
    few, many = took
    assert len(many) == len(few), [sql for sql in many if many.count(sql) > few.count(sql)][:10]
