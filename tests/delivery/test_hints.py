"""What is told beside the log, on either kind of stream, and to whom."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
from django.conf import LazySettings

from catbird_mls.xrpc import lexicon, meters
from conversations.selectors import Asking
from conversations.services import add_members, ask_for_group_info, leave_convo
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.delivery.streaming import SSE, WEBSOCKET, Open, named, send, seqs
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device, bring_in, bundle_of, leaf_of, packages_of, remove
from tests.wiring import wire_bytes

pytestmark = [pytest.mark.django_db(transaction=True)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB))


def whisper(wire: Wire, talk: Talk, *, by: str | None = ALICE, **changes: Any) -> Answer:
    """An ephemeral message, with one thing changed."""
    group = talk.founder.group(talk.id)
    given = {
        "convoId": talk.id,
        "msgId": uuid4().hex,
        "ciphertext": wire_bytes(group.encrypt(b"typing")),
        "epoch": group.epoch,
        "paddedSize": 512,
        "delivery": "ephemeral",
    }
    return wire.call("sendMessage", by=by, **given | changes)


def test_an_ephemeral_message_reaches_who_is_connected_and_is_kept_nowhere(
    stream: Open, wire: Wire, talk: Talk
) -> None:
    with stream(by=BOB, convoId=talk.id, cursor="1") as found:
        assert next(found) is None
        with leaves_no_trace():
            answer = whisper(wire, talk, msgId="w1", ciphertext=wire_bytes(b"typing"))
            event = named(found, "messageEvent")
        assert (answer["messageId"], answer["seq"], answer["epoch"], answer["currentEpoch"]) == ("w1", 1, 1, 1)
        assert (event["ephemeral"], event["cursor"], event["message"]["seq"]) == (True, "1", 0)
        assert (event["message"]["id"], event["message"]["ciphertext"]) == ("w1", wire_bytes(b"typing"))
        send(talk, "kept")
        assert seqs(found, 1) == [2]
    with stream(by=BOB, convoId=talk.id, cursor="0") as found:
        send(talk, "kept too")
        assert seqs(found, 2) == [2, 3]


def test_an_ephemeral_message_reaches_nobody_outside(stream: Open, wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))
    with stream(by=CAROL) as found:
        assert next(found) is None
        remove(talk, talk.founder, CAROL)
        # Her stream has told her, so by now it knows; whispered before that, she would be a member still.
        assert seqs(found, 1) == [2]
        whisper(wire, talk)
        other = a_convo(talk.founder, Phone(CAROL))
        send(other, "elsewhere")
        assert seqs(found, 1) == [2]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"convoId": "nowhere"}, (403, "NotMember")),
        ({"epoch": 99}, (409, "EpochMismatch")),
        ({"delivery": "whispered"}, (400, "InvalidRequest")),
        ({"ciphertext": wire_bytes(b"x" * 101)}, (413, "MessageTooLarge")),
    ],
)
def test_an_ephemeral_message_is_checked_like_any_other(
    wire: Wire, talk: Talk, settings: LazySettings, changes: dict[str, Any], refusal: tuple[int, str]
) -> None:
    settings.CATBIRD_EPHEMERAL_MAX_BYTES = 100
    with leaves_no_trace():
        assert whisper(wire, talk, **{"ciphertext": wire_bytes(b"x")} | changes).refusal == refusal


def test_a_commit_does_not_pass_for_an_ephemeral_message(wire: Wire, talk: Talk) -> None:
    commit = talk.founder.group(talk.id).commit(update=True).commit
    with leaves_no_trace():
        assert whisper(wire, talk, ciphertext=wire_bytes(commit)).refusal == (400, "InvalidMessage")


def changes(found: Iterator[Any], count: int) -> set[tuple[str, str, str | None, int]]:
    """The next changes of membership; those of one transaction come in any order."""
    told = [named(found, "membershipChangeEvent") for _ in range(count)]
    return {(one["did"], one["action"], one.get("actor"), one["epoch"]) for one in told}


def test_who_comes_and_who_goes_is_told_to_the_members(stream: Open, talk: Talk) -> None:
    with stream(by=BOB, convoId=talk.id) as found:
        assert next(found) is None
        bring_in(talk, talk.founder, Phone(CAROL), Phone(CAROL, "laptop"), Phone(MALLORY))
        assert changes(found, 2) == {(CAROL, "joined", ALICE, 2), (MALLORY, "joined", ALICE, 2)}
        remove(talk, talk.founder, CAROL)
        assert changes(found, 1) == {(CAROL, "removed", ALICE, 3)}
        mallory = next(phone for phone in talk.phones if phone.did == MALLORY)
        proposal = mallory.group(talk.id).propose_self_remove()
        leave_convo(convo_id=talk.id, who=Asking(MALLORY), target_did=None, proposal=proposal)
        assert changes(found, 1) == {(MALLORY, "left", MALLORY, 3)}
        # The commit that takes the leaf out has nothing new to tell about the leaver.
        group = talk.founder.group(talk.id)
        group.process(proposal)
        dan = Phone("did:plc:dan")
        a_device(dan)
        made = group.commit(add=packages_of(dan))
        add_members(convo_id=talk.id, who=Asking(ALICE), dids=[dan.did], bundle=bundle_of(made), key=None)
        assert changes(found, 1) == {(dan.did, "joined", ALICE, 4)}


def test_a_second_device_and_a_device_let_in_anew_are_no_change_of_membership(stream: Open, talk: Talk) -> None:
    with stream(by=ALICE, convoId=talk.id, cursor="1") as found:
        bring_in(talk, talk.founder, Phone(BOB, "laptop"))
        group = talk.founder.group(talk.id)
        made = group.commit(remove=[leaf_of(talk, BOB)], add=packages_of(talk.phones[1]))
        add_members(convo_id=talk.id, who=Asking(ALICE), dids=[BOB], bundle=bundle_of(made), key=None)
        group.confirm()
        send(talk, "end")
        told = []
        while not told or told[-1].get("message", {}).get("id") != "end":
            told.append(next(one for one in found if one))
        assert "membershipChangeEvent" not in {one["type"] for one in told}


def test_reading_is_told_to_the_accounts_own_devices_and_to_no_others(stream: Open, wire: Wire, talk: Talk) -> None:
    send(talk, "m1")
    with stream(by=BOB, convoId=talk.id) as mine, stream(by=ALICE, convoId=talk.id) as other:
        assert (next(mine), next(other)) == (None, None)
        read_at = wire.call("updateRead", by=BOB, convoId=talk.id, messageId="m1")["readAt"]
        event = named(mine, "readEvent")
        assert (event["did"], event["messageId"], event["readAt"], event["convoId"]) == (BOB, "m1", read_at, talk.id)
        send(talk, "m2")
        assert next(one for one in other if one)["type"] == "messageEvent"


def test_reading_in_one_convo_is_not_told_on_a_stream_of_another(stream: Open, wire: Wire, talk: Talk) -> None:
    elsewhere = a_convo(talk.founder, talk.phones[1])
    with stream(by=BOB, convoId=talk.id) as found:
        assert next(found) is None
        wire.call("updateRead", by=BOB, convoId=elsewhere.id)
        send(talk, "m1")
        assert next(one for one in found if one)["type"] == "messageEvent"


def test_a_request_for_a_group_info_is_told_to_the_others(stream: Open, talk: Talk) -> None:
    with stream(by=ALICE, convoId=talk.id) as found:
        assert next(found) is None
        ask_for_group_info(convo_id=talk.id, who=Asking(BOB))
        assert named(found, "groupInfoRefreshRequestedEvent")["requestedBy"] == BOB


def test_what_is_declared_is_sent_and_what_is_sent_is_declared() -> None:
    """Both streams and the counter know the same events, and the code names each of them."""
    declared = {
        nsid: {ref.removeprefix("#") for ref in schema["refs"]}
        for nsid, schema in (
            (SSE, lexicon.document(SSE)["defs"]["main"]["output"]["schema"]),
            (WEBSOCKET, lexicon.document(WEBSOCKET)["defs"]["main"]["message"]["schema"]),
        )
    }
    assert declared[SSE] == declared[WEBSOCKET] == set(get_args(meters.StreamEvent)) == set(events_made())


def events_made() -> Iterator[str]:
    """The names with which the server makes hints, and those a stream makes by itself."""
    for path in (path for app in ("conversations", "keypackages", "delivery") for path in (ROOT / app).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("Event"):
                yield node.value
