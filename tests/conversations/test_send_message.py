"""blue.catbird.mls.sendMessage"""

from typing import Any

import pytest
from django.conf import LazySettings

from conversations.models import Message
from delivery.models import Dispatch
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device, bring_in
from tests.wiring import wire_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB))


def send(wire: Wire, talk: Talk, *, by: str | None = ALICE, **changes: Any) -> Answer:
    """The valid call, with one thing changed."""
    group = talk.founder.group(talk.id)
    given = {
        "convoId": talk.id,
        "msgId": "m1",
        "ciphertext": wire_bytes(group.encrypt(b"hello")),
        "epoch": group.epoch,
        "paddedSize": 512,
    }
    return wire.call("sendMessage", by=by, **given | changes)


def test_a_message_gets_the_next_place(wire: Wire, talk: Talk) -> None:
    answer = send(wire, talk)
    assert (answer["messageId"], answer["seq"], answer["epoch"], answer["currentEpoch"]) == ("m1", 2, 1, 1)
    assert send(wire, talk, msgId="m2")["seq"] == 3
    assert list(Dispatch.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]


def test_the_log_keeps_no_sender_and_the_very_bytes(wire: Wire, talk: Talk) -> None:
    send(wire, talk, ciphertext=wire_bytes(b"bytes"))
    message = Message.objects.get(msg_id="m1")
    assert (bytes(message.body), message.sender_did) == (b"bytes", "")
    assert ALICE.encode() not in bytes(message.sender_tag)


@pytest.mark.parametrize("given", ["aGVsbG8=", "aGVsbG8", " aGVs\nbG8= ", {"$bytes": "aGVsbG8"}])
def test_base64_of_every_habit_is_understood(wire: Wire, talk: Talk, given: object) -> None:
    send(wire, talk, ciphertext=given)
    assert bytes(Message.objects.get(msg_id="m1").body) == b"hello"


def test_repeating_a_message_returns_the_first_answer(wire: Wire, talk: Talk) -> None:
    ciphertext = wire_bytes(b"once")
    first = send(wire, talk, ciphertext=ciphertext)
    with leaves_no_trace():
        assert send(wire, talk, ciphertext=ciphertext).body == first.body


def test_a_repeat_is_answered_after_the_epoch_has_moved_on(wire: Wire, talk: Talk) -> None:
    ciphertext = wire_bytes(b"once")
    first = send(wire, talk, ciphertext=ciphertext, epoch=1)
    for _ in range(4):
        bring_in(talk, talk.founder, Phone(CAROL))
        break
    again = send(wire, talk, ciphertext=ciphertext, epoch=1)
    assert (again["seq"], again["epoch"], again["currentEpoch"]) == (first["seq"], 1, 2)


@pytest.mark.parametrize(
    "changes", [{"ciphertext": wire_bytes(b"other")}, {"by": BOB}], ids=["other bytes", "other sender"]
)
def test_a_used_id_stands_for_one_message_only(wire: Wire, talk: Talk, changes: dict[str, Any]) -> None:
    send(wire, talk, ciphertext=wire_bytes(b"first"))
    with leaves_no_trace():
        answer = send(wire, talk, **{"ciphertext": wire_bytes(b"first")} | changes)
    assert answer.refusal == (409, "IdempotencyConflict")


def test_a_message_of_a_recent_epoch_is_accepted(wire: Wire, talk: Talk) -> None:
    bring_in(talk, talk.founder, Phone(CAROL))
    answer = send(wire, talk, ciphertext=wire_bytes(b"late"), epoch=1)
    assert (answer["epoch"], answer["currentEpoch"]) == (1, 2)


@pytest.mark.parametrize("epoch", [0, 2, 99])
def test_other_epochs_are_refused_with_the_current_one(
    wire: Wire, talk: Talk, settings: LazySettings, epoch: int
) -> None:
    settings.CATBIRD_EPOCH_WINDOW = 0
    with leaves_no_trace():
        answer = send(wire, talk, ciphertext=wire_bytes(b"x"), epoch=epoch)
    assert answer.refusal == (409, "EpochMismatch")
    assert answer["currentEpoch"] == 1


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"convoId": "nowhere"}, (403, "NotMember")),
        ({"deviceId": "unknown"}, (403, "NotMember")),
        ({"ciphertext": "***"}, (400, "InvalidRequest")),
        ({"ciphertext": wire_bytes(b"")}, (400, "InvalidRequest")),
        ({"ciphertext": 7}, (400, "InvalidRequest")),
        ({"msgId": "x" * 65}, (400, "InvalidRequest")),
        ({"msgId": ""}, (400, "InvalidRequest")),
        ({"epoch": -1}, (400, "InvalidRequest")),
        ({"epoch": "one"}, (400, "InvalidRequest")),
        ({"paddedSize": 513}, (400, "InvalidAsset")),
        ({"paddedSize": None}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        assert send(wire, talk, **changes).refusal == refusal


def test_a_stranger_cannot_tell_a_convo_from_none(wire: Wire, talk: Talk) -> None:
    assert send(wire, talk, by=MALLORY).body == send(wire, talk, by=MALLORY, convoId="nowhere").body


def test_a_ciphertext_past_the_limit_is_refused(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    settings.CIPHERTEXT_MAX_BYTES = 10
    with leaves_no_trace():
        assert send(wire, talk, ciphertext=wire_bytes(b"x" * 11)).refusal == (413, "MessageTooLarge")
    assert send(wire, talk, ciphertext=wire_bytes(b"x" * 10)).status == 200


def test_a_body_past_the_limit_is_refused(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    settings.REQUEST_MAX_BYTES = 1000
    with leaves_no_trace():
        assert send(wire, talk, ciphertext=wire_bytes(b"x" * 1000)).refusal == (413, "PayloadTooLarge")


def test_a_commit_does_not_pass_for_a_message(wire: Wire, talk: Talk) -> None:
    commit = talk.founder.group(talk.id).commit(update=True).commit
    with leaves_no_trace():
        assert send(wire, talk, ciphertext=wire_bytes(commit)).refusal == (400, "InvalidMessage")


def test_a_message_is_of_the_epoch_its_request_says(wire: Wire, talk: Talk) -> None:
    early = talk.founder.group(talk.id).encrypt(b"early")
    bring_in(talk, talk.founder, Phone(CAROL))
    with leaves_no_trace():
        answer = send(wire, talk, ciphertext=wire_bytes(early), epoch=2)
    assert answer.refusal == (400, "InvalidMessage")


def test_another_device_of_the_account_that_is_not_in_the_convo_may_not_send(wire: Wire, talk: Talk) -> None:
    laptop = Phone(ALICE, "laptop")
    a_device(laptop)
    with leaves_no_trace():
        assert send(wire, talk, deviceId=laptop.device_id).refusal == (403, "NotMember")
    assert send(wire, talk, deviceId=talk.founder.device_id).status == 200
