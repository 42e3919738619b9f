"""blue.catbird.mls.updateCursor"""

from threading import Event
from typing import Any

import pytest
from django.db import transaction

from conversations.selectors import Asking
from conversations.services import update_cursor
from delivery.fanout import fan_out
from delivery.models import Envelope, Mailbox
from delivery.selectors import readable_spans
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.delivery.streaming import send
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.races.threads import PATIENCE_SECONDS, at_once, failures
from tests.situations import Talk, a_convo, bring_in, remove

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    """A convo with entries 1 to 6, of which Bob is owed 2 to 6."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for number in range(5):
        send(talk, f"m{number}")
    fan_out()
    return talk


def got_to(wire: Wire, talk: Talk, cursor: object, *, by: str | None = BOB, **changes: Any) -> Answer:
    given = {"convoId": talk.id, "cursor": cursor if cursor is None else str(cursor)}
    return wire.call("updateCursor", by=by, **given | changes)


def owed(talk: Talk, did: str = BOB) -> list[tuple[int, int]]:
    rows = Envelope.objects.filter(convo_id=talk.id, did=did).order_by("device_id")
    return list(rows.values_list("first_seq", "last_seq"))


def acked(talk: Talk, did: str = BOB) -> set[int]:
    return set(Mailbox.objects.filter(convo_id=talk.id, did=did).values_list("acked_seq", flat=True))


def test_what_is_acknowledged_is_owed_no_longer(wire: Wire, talk: Talk) -> None:
    assert owed(talk) == [(2, 6)]
    assert got_to(wire, talk, 4).body == {"success": True}
    assert (owed(talk), acked(talk)) == ([(5, 6)], {4})
    got_to(wire, talk, 6)
    assert (owed(talk), acked(talk)) == ([], {6})
    assert owed(talk, ALICE) == [(1, 6)]


def test_saying_it_again_or_an_earlier_place_later_changes_nothing(wire: Wire, talk: Talk) -> None:
    got_to(wire, talk, 4)
    with leaves_no_trace():
        for cursor in (4, 3, 0):
            assert got_to(wire, talk, cursor).body == {"success": True}


def test_what_is_acknowledged_before_it_is_carried_is_not_carried_then(wire: Wire, talk: Talk) -> None:
    send(talk, "one more")
    got_to(wire, talk, 7)
    fan_out()
    assert owed(talk) == []


def test_a_device_acknowledges_for_itself_alone(wire: Wire, talk: Talk) -> None:
    laptop = Phone(BOB, "laptop")
    bring_in(talk, talk.founder, laptop)
    send(talk, "to both")
    fan_out()
    got_to(wire, talk, 8, deviceId=laptop.device_id)
    assert owed(talk) == [(2, 8)]
    got_to(wire, talk, 8)
    assert owed(talk) == []


def test_who_was_removed_acknowledges_what_it_was_still_owed(wire: Wire, talk: Talk) -> None:
    remove(talk, talk.founder, BOB)
    send(talk, "behind your back")
    fan_out()
    bob = {"did": BOB, "device_id": None, "convo_id": talk.id}
    assert owed(talk) == [(2, 7)]
    assert readable_spans(**bob)
    with leaves_no_trace():
        assert got_to(wire, talk, 8).refusal == (400, "InvalidCursor")
    assert got_to(wire, talk, 7).status == 200
    assert (owed(talk), readable_spans(**bob)) == ([], [])
    assert got_to(wire, talk, 7).status == 200


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "NotMember")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"convoId": "nowhere"}, (403, "NotMember")),
        ({"deviceId": "unknown"}, (403, "NotMember")),
        ({"cursor": "7"}, (400, "InvalidCursor")),
        ({"cursor": "01HZXYZ"}, (400, "InvalidCursor")),
        ({"cursor": None}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        assert got_to(wire, talk, **{"cursor": 6} | changes).refusal == refusal


@pytest.mark.django_db(transaction=True)
def test_an_acknowledgement_beside_the_fan_out_leaves_no_envelope_behind() -> None:
    """Whichever of the two ends first, what was acknowledged is not owed."""
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))
    for round_ in range(20):
        send(talk, f"m{round_}")
        seq = talk.convo.last_seq
        results = at_once(
            [
                lambda: fan_out(),
                lambda seq=seq: update_cursor(convo_id=talk.id, who=Asking(BOB), seq=seq),
            ]
        )
        assert failures(results) == []
        fan_out()
        assert owed(talk) == []


@pytest.mark.django_db(transaction=True)
def test_an_acknowledgement_waits_for_a_fan_out_that_has_not_seen_it() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk, "m1")
    carrying, acknowledged = Event(), Event()

    def carry_slowly() -> None:
        with transaction.atomic():
            fan_out()
            carrying.set()
            # As long as this transaction lasts nobody sees the envelope.
            assert not acknowledged.wait(1.0)

    def acknowledge() -> None:
        assert carrying.wait(PATIENCE_SECONDS)
        update_cursor(convo_id=talk.id, who=Asking(BOB), seq=2)
        acknowledged.set()

    assert failures(at_once([carry_slowly, acknowledge])) == []
    assert owed(talk) == []
