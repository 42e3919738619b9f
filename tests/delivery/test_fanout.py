"""Dispatches to envelopes, in order; twice is harmless."""

import pytest

from conversations.selectors import Asking
from conversations.services import append_message
from delivery.fanout import fan_out, sweep
from delivery.models import Dispatch, Envelope, Mailbox
from delivery.selectors import Span, readable_spans
from delivery.services import close_mailbox, open_mailbox
from delivery.tasks import fan_out as fan_out_task
from delivery.tasks import sweep as sweep_task
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import Talk, a_convo, bring_in, remove

pytestmark = pytest.mark.django_db


def send(talk: Talk, count: int = 1) -> None:
    for _ in range(count):
        append_message(
            convo_id=talk.id,
            who=Asking(ALICE),
            msg_id=f"m{talk.convo.last_seq}",
            epoch=talk.convo.epoch,
            ciphertext=b"x",
        )


def spans(talk: Talk) -> dict[str, tuple[int, int]]:
    rows = Envelope.objects.filter(convo_id=talk.id).values_list("did", "first_seq", "last_seq")
    return {did: (first, last) for did, first, last in rows}


def test_every_entry_of_every_path_reaches_every_member_of_its_time() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk)
    bring_in(talk, talk.founder, Phone(CAROL))
    send(talk)
    remove(talk, talk.founder, BOB)
    send(talk)
    assert fan_out(talk.id) == 6
    assert spans(talk) == {ALICE: (1, 6), BOB: (2, 5), CAROL: (4, 6)}
    assert not Dispatch.objects.exists()


def test_one_envelope_a_device_however_many_entries_wait() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for _ in range(3):
        send(talk, 2)
        fan_out(talk.id)
    assert spans(talk)[BOB] == (2, 7)


def test_twice_is_harmless() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk)
    fan_out(talk.id)
    before = spans(talk)
    Dispatch.objects.create(convo_id=talk.id, seq=1)
    assert fan_out(talk.id) == 1
    assert fan_out(talk.id) == 0
    assert spans(talk) == before


def test_the_sweep_finds_what_no_nudge_reached() -> None:
    talks = [a_convo(Phone(ALICE), Phone(BOB)) for _ in range(2)]
    assert sweep() == 2
    assert all(spans(talk)[ALICE] == (1, 1) for talk in talks)


def test_what_is_acknowledged_is_not_carried_again() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    Mailbox.objects.filter(did=BOB).update(acked_seq=3)
    send(talk, 3)
    fan_out(talk.id)
    assert spans(talk)[BOB] == (4, 4)


def test_the_tasks_do_what_their_names_say() -> None:
    first, second = a_convo(Phone(ALICE), Phone(BOB)), a_convo(Phone(ALICE), Phone(BOB))
    fan_out_task.apply(args=[first.id], throw=True)
    assert (bool(spans(first)), bool(spans(second))) == (True, False)
    sweep_task.apply(throw=True)
    assert spans(second)


def test_a_device_that_came_back_has_two_spans_and_an_account_reads_their_union() -> None:
    places = {"convo_id": "c", "did": BOB}
    open_mailbox(**places, device_id="phone", first_seq=2)
    close_mailbox(**places, device_id="phone", last_seq=4)
    open_mailbox(**places, device_id="phone", first_seq=8)
    open_mailbox(**places, device_id="laptop", first_seq=4)
    assert readable_spans(did=BOB, device_id="phone") == [Span("c", 2, 4), Span("c", 8, None)]
    assert readable_spans(did=BOB, device_id=None) == [Span("c", 2, None)]


def test_closing_a_closed_mailbox_changes_nothing() -> None:
    places = {"convo_id": "c", "did": BOB, "device_id": "phone"}
    open_mailbox(**places, first_seq=2)
    close_mailbox(**places, last_seq=4)
    close_mailbox(**places, last_seq=9)
    assert Mailbox.objects.get().last_seq == 4
