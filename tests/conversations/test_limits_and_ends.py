"""What is refused alike by several methods: full convos, ended convos, keys that were used for something else."""

from typing import Any
from uuid import uuid4

import pytest
from django.conf import LazySettings

from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, SUITE, Phone
from tests.situations import a_convo, a_device, leaf_of, packages_of, update
from tests.wiring import b64, wire_bytes

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("tracked", [True, False])
def test_a_convo_that_is_full_takes_nobody_in(wire: Wire, settings: LazySettings, tracked: bool) -> None:
    carol = Phone(CAROL)
    a_device(carol)
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=tracked)
    made = talk.founder.group(talk.id).commit(add=packages_of(carol), with_tree=not tracked)
    assert made.welcome is not None
    given = {"convoId": talk.id, "didList": [CAROL], "commit": b64(made.commit), "welcomeMessage": b64(made.welcome)}
    if tracked:
        given["groupInfo"] = b64(made.group_info)
    settings.CATBIRD_MAX_MEMBERS = 2
    with leaves_no_trace():
        assert wire.call("addMembers", by=ALICE, **given).refusal == (400, "TooManyMembers")


def test_a_convo_is_not_founded_fuller_than_full(wire: Wire, settings: LazySettings) -> None:
    a_device(Phone(ALICE))
    settings.CATBIRD_MAX_MEMBERS = 2
    given = {"groupId": uuid4().hex, "cipherSuite": SUITE, "initialMembers": [BOB, CAROL]}
    with leaves_no_trace():
        assert wire.call("createConvo", by=ALICE, **given).refusal == (400, "TooManyMembers")


ENDED: list[tuple[str, dict[str, Any]]] = [
    ("sendMessage", {"msgId": "m", "ciphertext": wire_bytes(b"x"), "epoch": 0, "paddedSize": 512}),
    ("addMembers", {"didList": [], "commit": "AAAA"}),
    ("removeMember", {"targetDid": BOB, "idempotencyKey": "k", "commit": "AAAA"}),
    ("getEpoch", {}),
    ("getCommits", {"fromEpoch": 0}),
    ("getMessages", {}),
    ("getWelcome", {}),
    ("confirmWelcome", {"success": True}),
]


@pytest.mark.parametrize(("method", "given"), ENDED, ids=[method for method, _ in ENDED])
def test_an_ended_convo_is_gone_for_who_was_in_it_and_unknown_to_others(
    wire: Wire, method: str, given: dict[str, Any]
) -> None:
    talk = a_convo(Phone(ALICE))
    wire.call("leaveConvo", by=ALICE, convoId=talk.id)
    with leaves_no_trace():
        assert wire.call(method, by=ALICE, convoId=talk.id, **given).refusal == (404, "ConvoNotFound")
        assert wire.call(method, by=MALLORY, convoId=talk.id, **given).refusal == (403, "NotMember")


def test_a_removal_for_another_epoch_and_a_used_key_are_conflicts(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))
    group = talk.founder.group(talk.id)
    early = group.commit(remove=[leaf_of(talk, BOB)])
    given = {"convoId": talk.id, "targetDid": BOB, "commit": b64(early.commit), "groupInfo": b64(early.group_info)}
    group.discard()
    update(talk, talk.phones[1])
    with leaves_no_trace():
        answer = wire.call("removeMember", by=ALICE, idempotencyKey="k1", **given)
        assert (answer.refusal, answer["currentEpoch"]) == ((409, "EpochMismatch"), 2)
    made = group.commit(remove=[leaf_of(talk, BOB)])
    given |= {"commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    assert wire.call("removeMember", by=ALICE, idempotencyKey="k1", **given).status == 200
    with leaves_no_trace():
        answer = wire.call("removeMember", by=ALICE, idempotencyKey="k1", **given | {"targetDid": CAROL})
    assert answer.refusal == (409, "IdempotencyConflict")


def test_a_proposal_to_leave_is_of_the_current_epoch(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    bob = talk.phones[1]
    proposal = bob.group(talk.id).propose_self_remove()
    bob.group(talk.id).clear_proposals()
    update(talk, talk.founder)
    with leaves_no_trace():
        answer = wire.call("leaveConvo", by=BOB, convoId=talk.id, commit=b64(proposal))
    assert (answer.refusal, answer["currentEpoch"]) == ((409, "EpochMismatch"), 2)
