"""What members propose by sendMessage in a tracked convo: entries of the epoch, of which a commit may make use."""

from types import SimpleNamespace
from typing import Any

import pytest
from openmls.client import Group

from conversations.models import Message, Proposal
from conversations.services import proposals
from journal.models import Refusal
from keypackages.models import Device
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import Talk, a_convo, leaf_of, update
from tests.wiring import b64, wire_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))


def send(wire: Wire, talk: Talk, body: bytes, *, by: str = BOB, **changes: Any) -> Answer:
    given = {"convoId": talk.id, "msgId": "p1", "epoch": 1, "paddedSize": 512, "ciphertext": wire_bytes(body)}
    return wire.call("sendMessage", by=by, **given | changes)


def commit(wire: Wire, talk: Talk, by: Phone) -> Answer:
    made = by.group(talk.id).commit()
    given = {"convoId": talk.id, "didList": [], "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    return wire.call("addMembers", by=by.did, **given)


def test_an_update_becomes_an_entry_and_is_committed_by_another(wire: Wire, talk: Talk) -> None:
    proposal = talk.phones[1].group(talk.id).propose_update()
    answer = send(wire, talk, proposal)
    assert (answer["seq"], answer["epoch"], answer["messageId"]) == (2, 1, "p1")
    assert send(wire, talk, proposal).body == answer.body
    entry = Message.objects.get(msg_id="p1")
    assert (entry.kind, entry.sender_did) == ("proposal", BOB)
    assert Proposal.objects.get().required is False
    talk.founder.group(talk.id).process(proposal)
    assert commit(wire, talk, talk.founder)["newEpoch"] == 2
    assert not Proposal.objects.exists()


def test_it_ends_with_its_epoch(wire: Wire, talk: Talk) -> None:
    proposal = talk.phones[1].group(talk.id).propose_update()
    assert send(wire, talk, proposal).status == 200
    update(talk, talk.founder)
    assert not Proposal.objects.exists()
    late = talk.phones[1].group(talk.id).propose_update()
    assert send(wire, talk, proposal, msgId="p2").refusal == (409, "EpochMismatch")
    assert send(wire, talk, late, msgId="p3", epoch=2).status == 200


def test_an_admins_removal_may_be_committed_by_anybody_and_left_out(wire: Wire, talk: Talk) -> None:
    proposal = talk.founder.group(talk.id).propose_remove(leaf_of(talk, BOB))
    assert send(wire, talk, proposal, by=ALICE).status == 200
    carol = talk.phones[2]
    made = talk.founder.group(talk.id)
    made.clear_proposals()
    carol.group(talk.id).process(proposal)
    assert commit(wire, talk, carol)["newEpoch"] == 2
    assert wire.call("getEpoch", by=BOB, convoId=talk.id).refusal == (403, "NotMember")


@pytest.mark.parametrize(
    ("propose", "by", "refusal", "code"),
    [
        (lambda talk: talk.phones[2].group(talk.id).propose_update(), BOB, "InvalidMessage", "proposal.not_your_leaf"),
        (
            lambda talk: talk.phones[1].group(talk.id).propose_self_remove(),
            BOB,
            "InvalidMessage",
            "proposal.is_a_leave",
        ),
        (lambda talk: talk.phones[1].group(talk.id).propose_remove(leaf_of(talk, CAROL)), BOB, "NotAdmin", ""),
        (lambda talk: _tampered(talk.phones[1].group(talk.id).propose_update()), BOB, "InvalidMessage", "validation."),
    ],
)
def test_what_others_could_not_commit_is_refused_and_noted(
    wire: Wire, talk: Talk, propose: Any, by: str, refusal: str, code: str
) -> None:
    body = propose(talk)
    with leaves_no_trace():
        answer = send(wire, talk, body, by=by)
    assert answer.refusal[1] == refusal
    assert answer["message"].startswith(code)
    noted = Refusal.objects.get()
    assert (noted.thing, noted.did, noted.epoch, noted.size) == ("proposal", BOB, 1, len(body))


def test_even_an_admin_proposes_no_other_extensions(wire: Wire, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No client of ours makes such a proposal, so an update is read as one."""
    read = proposals.verify_proposal

    def as_extensions(*given: Any, **more: Any) -> Any:
        found = read(*given, **more)
        return SimpleNamespace(
            kind="group_context_extensions", sender_index=found.sender_index, reference=found.reference, removed=None
        )

    monkeypatch.setattr(proposals, "verify_proposal", as_extensions)
    with leaves_no_trace():
        answer = send(wire, talk, talk.founder.group(talk.id).propose_update(), by=ALICE)
    assert answer["message"].startswith("proposal.extensions_by_commit")


def test_an_update_to_a_key_nobody_registered_is_refused(wire: Wire, talk: Talk) -> None:
    proposal = talk.phones[1].group(talk.id).propose_update()
    Device.objects.filter(did=BOB).update(signature_key=b"x" * 32)
    with leaves_no_trace():
        answer = send(wire, talk, proposal)
    assert answer["message"].startswith("proposal.unknown_signature_key")


def test_a_member_proposes_only_so_much_in_one_epoch(wire: Wire, talk: Talk) -> None:
    bob = talk.phones[1].group(talk.id)
    for number in range(32):
        assert send(wire, talk, bob.propose_update(), msgId=f"p{number}").status == 200
    with leaves_no_trace():
        answer = send(wire, talk, bob.propose_update(), msgId="one more")
    assert answer["message"].startswith("limit.pending_proposals")


def test_in_an_opaque_convo_a_proposal_is_no_message(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), tracked=True)
    opaque = a_convo(Phone(BOB), tracked=False)
    assert opaque.convo.mode == "opaque"
    body = talk.founder.group(talk.id).propose_update()
    assert send(wire, opaque, body, epoch=0).status == 200
    assert Message.objects.get(convo_id=opaque.id).kind == "app"


def _group(talk: Talk, number: int) -> Group:
    return talk.phones[number].group(talk.id)


def _tampered(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
