"""blue.catbird.mls.updateRead"""

from typing import Any

import pytest

from delivery.models import Mailbox
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.delivery.streaming import send
from tests.devices import ALICE, BOB, MALLORY, Phone
from tests.situations import Talk, a_convo, bring_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    """A convo with entries 1 to 4, of which m0 is the second."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for number in range(3):
        send(talk, f"m{number}")
    return talk


def read(wire: Wire, talk: Talk, *, by: str | None = BOB, **changes: Any) -> Answer:
    return wire.call("updateRead", by=by, **{"convoId": talk.id} | changes)


def unread(wire: Wire, *, by: str = BOB) -> int:
    (convo,) = wire.call("getConvos", by=by)["conversations"]
    return int(convo["unreadCount"])


def test_unread_is_what_lies_after_the_mark(wire: Wire, talk: Talk) -> None:
    assert (unread(wire), unread(wire, by=ALICE)) == (3, 4)
    read(wire, talk, messageId="m0")
    assert (unread(wire), unread(wire, by=ALICE)) == (2, 4)
    read(wire, talk)
    assert unread(wire) == 0
    send(talk, "another")
    assert unread(wire) == 1


def test_the_mark_never_goes_back_and_repeating_gets_the_first_answer(wire: Wire, talk: Talk) -> None:
    first = read(wire, talk, messageId="m1")
    with leaves_no_trace():
        assert read(wire, talk, messageId="m1").body == first.body
        assert read(wire, talk, messageId="m0").body == first.body
    assert unread(wire) == 1


def test_a_further_device_of_the_account_has_read_what_the_account_has(wire: Wire, talk: Talk) -> None:
    read(wire, talk)
    bring_in(talk, talk.founder, Phone(BOB, "laptop"))
    assert unread(wire) == 1
    read(wire, talk)
    assert unread(wire) == 0
    assert set(Mailbox.objects.filter(did=BOB).values_list("read_seq", flat=True)) == {5}


def test_an_empty_log_can_be_read_too(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    assert read(wire, talk, by=ALICE).status == 200
    assert unread(wire, by=ALICE) == 0


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"convoId": "nowhere"}, (403, "NotMember")),
        ({"messageId": "no such message"}, (400, "InvalidRequest")),
        ({"messageId": "x" * 65}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        assert read(wire, talk, **changes).refusal == refusal
