"""Leaves that have to go, in groups that list the server as an external sender."""

import base64
from typing import Any

import pytest
from django.conf import LazySettings
from openmls.client import CommitBundle

from conversations.models import Member, Message, Proposal
from conversations.selectors import Asking
from conversations.services import delete_device, leave_convo, process_external_commit
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import Talk, a_convo, bring_in, bundle_of, leaf_of, server_key
from tests.wiring import b64, registration

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL), served=True)


def proposals(talk: Talk) -> list[tuple[int | None, int, bool]]:
    rows = Proposal.objects.filter(convo_id=talk.id).order_by("seq")
    return list(rows.values_list("removes_leaf", "epoch", "required"))


def catch_up(talk: Talk, phone: Phone, *, since: int) -> None:
    """The phone reads the handshakes after a place in the log."""
    for entry in Message.objects.filter(convo_id=talk.id, seq__gt=since).exclude(kind="app").order_by("seq"):
        phone.group(talk.id).process(bytes(entry.body))


def commit(wire: Wire, talk: Talk, by: Phone, made: CommitBundle | None = None) -> Answer:
    made = made or by.group(talk.id).commit(update=True)
    given = {"convoId": talk.id, "didList": [], "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    return wire.call("addMembers", by=by.did, **given)


def come_back(talk: Talk, phone: Phone) -> CommitBundle:
    founder = talk.founder.group(talk.id)
    phone.client.forget_group(bytes.fromhex(talk.id))
    _, made = phone.client.join_external(founder.group_info(), founder.ratchet_tree())
    process_external_commit(convo_id=talk.id, who=Asking(phone.did, phone.device_id), bundle=bundle_of(made), key=None)
    return made


def test_a_leaver_without_a_proposal_is_proposed_for_removal(wire: Wire, talk: Talk) -> None:
    assert wire.call("leaveConvo", by=BOB, convoId=talk.id).status == 200
    leaf = leaf_of(talk, BOB)
    assert proposals(talk) == [(leaf, 1, True)]
    (entry,) = wire.call("getMessages", by=ALICE, convoId=talk.id, sinceSeq=1)["messages"]
    assert (entry["messageType"], entry["epoch"], entry["seq"]) == ("proposal", 1, 2)
    talk.founder.group(talk.id).process(base64.b64decode(entry["ciphertext"]["$bytes"]))
    assert commit(wire, talk, talk.founder)["newEpoch"] == 2
    assert Member.objects.get(did=BOB).left_how == "left"
    assert proposals(talk) == []


def test_a_commit_may_not_leave_it_out(wire: Wire, talk: Talk) -> None:
    leave_convo(convo_id=talk.id, who=Asking(BOB), target_did=None, proposal=None)
    with leaves_no_trace():
        answer = commit(wire, talk, talk.founder)
    assert answer.refusal == (400, "InvalidCommit")
    assert answer["message"] == f"commit.pending_removal_left_out: leaves [{leaf_of(talk, BOB)}] are to be removed."


def test_it_is_proposed_again_in_the_commit_that_ends_the_epoch(wire: Wire, talk: Talk) -> None:
    proposal = talk.phones[1].group(talk.id).propose_self_remove()
    leave_convo(convo_id=talk.id, who=Asking(BOB), target_did=None, proposal=proposal)
    leaf = leaf_of(talk, BOB)
    made = come_back(talk, talk.phones[2])
    assert proposals(talk) == [(leaf, 2, True)]
    assert list(Message.objects.filter(convo_id=talk.id).order_by("seq").values_list("kind", flat=True))[-2:] == [
        "commit",
        "proposal",
    ]
    founder = talk.founder.group(talk.id)
    founder.process(proposal)
    founder.process(made.commit)
    with leaves_no_trace():
        assert commit(wire, talk, talk.founder).refusal == (400, "InvalidCommit")
    founder.discard()
    catch_up(talk, talk.founder, since=3)
    assert commit(wire, talk, talk.founder)["newEpoch"] == 3
    assert Member.objects.get(did=BOB).left_how == "left"


def test_a_deleted_devices_leaf_has_to_go(wire: Wire, talk: Talk) -> None:
    laptop = Phone(BOB, "laptop")
    bring_in(talk, talk.founder, laptop)
    delete_device(did=BOB, handle=laptop.device_id)
    (row,) = Member.objects.filter(device_id=laptop.device_id)
    assert proposals(talk) == [(row.leaf_index, 2, True)]
    catch_up(talk, talk.founder, since=2)
    assert commit(wire, talk, talk.founder).status == 200
    assert [leaf.identity for leaf in talk.founder.group(talk.id).members()].count(BOB.encode()) == 2
    talk.founder.group(talk.id).confirm()
    assert [leaf.identity for leaf in talk.founder.group(talk.id).members()].count(BOB.encode()) == 1


def test_a_leaf_left_behind_by_a_device_installed_anew_has_to_go(talk: Talk, wire: Wire) -> None:
    bob = talk.phones[1]
    anew = Phone(BOB, uuid=bob.uuid)
    wire.call("registerDevice", by=BOB, **registration(anew))
    old_leaf = leaf_of(talk, BOB)
    founder = talk.founder.group(talk.id)
    _, made = anew.client.join_external(founder.group_info(), founder.ratchet_tree())
    process_external_commit(convo_id=talk.id, who=Asking(BOB), bundle=bundle_of(made), key=None)
    assert proposals(talk) == [(old_leaf, 2, True)]


def remove(wire: Wire, talk: Talk, *, by: str = ALICE, **changes: Any) -> Answer:
    given = {"convoId": talk.id, "targetDid": BOB, "idempotencyKey": "k1"}
    return wire.call("removeMember", by=by, **given | changes)


def test_an_admin_removes_without_a_commit(wire: Wire, talk: Talk) -> None:
    answer = remove(wire, talk)
    assert (answer["ok"], answer["newEpoch"], answer["seq"]) == (True, 1, 2)
    assert wire.call("getEpoch", by=BOB, convoId=talk.id).refusal == (403, "NotMember")
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id).refusal == (403, "Unauthorized")
    assert remove(wire, talk).body == answer.body
    catch_up(talk, talk.founder, since=1)
    assert commit(wire, talk, talk.founder).status == 200
    assert Member.objects.get(did=BOB).left_how == "removed"


def test_without_the_server_in_the_group_it_takes_a_commit(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    with leaves_no_trace():
        answer = remove(wire, talk)
    assert answer.refusal == (400, "InvalidCommit")
    assert answer["message"].startswith("commit.missing")


def test_an_older_key_still_signs_for_the_groups_that_list_it(wire: Wire, settings: LazySettings) -> None:
    old = settings.EXTERNAL_SENDER_SECRETS
    talk = a_convo(Phone(ALICE), Phone(BOB), served=True)
    settings.EXTERNAL_SENDER_SECRETS = ("a new secret that is long enough for it", *old)
    assert server_key(talk.founder) not in {key for _, key in _senders(talk)}
    assert remove(wire, talk).status == 200
    settings.EXTERNAL_SENDER_SECRETS = settings.EXTERNAL_SENDER_SECRETS[:1]
    gone = a_convo(Phone(ALICE), Phone(BOB), served=True)
    settings.EXTERNAL_SENDER_SECRETS = ("another secret that the group does not know",)
    assert remove(wire, gone, idempotencyKey="k2").refusal == (400, "InvalidCommit")


def _senders(talk: Talk) -> tuple[tuple[bytes | None, bytes], ...]:
    from openmls.delivery import PublicGroup  # noqa: PLC0415 - one test looks behind the service

    founder = talk.founder.group(talk.id)
    return PublicGroup.create(founder.group_info(), founder.ratchet_tree()).external_senders


def test_a_device_learns_what_its_groups_are_to_list(wire: Wire) -> None:
    phone = Phone(ALICE)
    sender = wire.call("registerDevice", by=ALICE, **registration(phone))["externalSender"]
    credential = base64.b64decode(sender["credential"]["$bytes"])
    assert base64.b64decode(sender["signatureKey"]["$bytes"]) == server_key(phone)
    assert credential == b"\x00\x01" + bytes([len(b"did:web:localhost")]) + b"did:web:localhost"


def test_a_group_goes_on_listing_the_server(wire: Wire, talk: Talk) -> None:
    stranger = b"\x01" * 32
    for senders in ([], [(b"somebody", stranger)]):
        made = talk.founder.group(talk.id).commit(external_senders=senders)
        with leaves_no_trace():
            answer = commit(wire, talk, talk.founder, made)
        assert answer.refusal == (400, "InvalidCommit")
        assert answer["message"].startswith("commit.external_sender_dropped")
        talk.founder.group(talk.id).discard()


def test_an_admin_moves_the_group_to_the_servers_new_key(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    settings.EXTERNAL_SENDER_SECRETS = ("a new secret that is long enough", *settings.EXTERNAL_SENDER_SECRETS)
    senders = [(settings.SERVICE_DID.encode(), server_key(talk.founder))]
    made = talk.phones[1].group(talk.id).commit(external_senders=senders)
    with leaves_no_trace():
        assert commit(wire, talk, talk.phones[1], made).refusal == (403, "NotAdmin")
    made = talk.founder.group(talk.id).commit(external_senders=senders)
    assert commit(wire, talk, talk.founder, made).status == 200
    talk.founder.group(talk.id).confirm()
    assert remove(wire, talk).status == 200
