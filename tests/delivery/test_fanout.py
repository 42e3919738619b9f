"""Dispatches to envelopes, in order; twice is harmless."""

from datetime import timedelta
from threading import Event

import pytest
from celery import Task
from django.conf import LazySettings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.selectors import Asking
from conversations.services import append_message
from delivery import fanout
from delivery.fanout import fan_out
from delivery.models import Dispatch, Envelope, Mailbox
from delivery.selectors import Span, readable_spans
from delivery.services import close_mailbox, open_mailboxes
from delivery.tasks import fan_out as fan_out_task
from delivery.tasks import sweep as sweep_task
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.live import PATIENCE_SECONDS
from tests.races.threads import at_once, failures
from tests.situations import Talk, a_convo, bring_in, remove

POISON = """
CREATE FUNCTION pg_temp.poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.convo_id = '{convo_id}' THEN RAISE 'not this one'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER poison BEFORE INSERT ON delivery_envelope FOR EACH ROW EXECUTE FUNCTION pg_temp.poison()
"""

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
    assert fan_out() == 6
    assert spans(talk) == {ALICE: (1, 6), BOB: (2, 5), CAROL: (4, 6)}
    assert not Dispatch.objects.exists()


def test_one_envelope_a_device_however_many_entries_wait() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for _ in range(3):
        send(talk, 2)
        fan_out()
    assert spans(talk)[BOB] == (2, 7)


def test_more_than_a_pass_holds_takes_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "PASS_MAX_ENTRIES", 2)
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk, 4)
    assert fan_out() == 5
    assert spans(talk)[BOB] == (2, 5)
    assert not Dispatch.objects.exists()


def test_twice_is_harmless() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk)
    fan_out()
    before = spans(talk)
    Dispatch.objects.create(convo_id=talk.id, seq=1)
    assert fan_out() == 1
    assert fan_out() == 0
    assert spans(talk) == before


def test_the_sweep_finds_what_no_nudge_reached() -> None:
    talks = [a_convo(Phone(ALICE), Phone(BOB)) for _ in range(2)]
    assert fan_out(by="sweep") == 2
    assert all(spans(talk)[ALICE] == (1, 1) for talk in talks)


def test_what_is_acknowledged_is_not_carried_again() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    Mailbox.objects.filter(did=BOB).update(acked_seq=3)
    send(talk, 3)
    fan_out()
    assert spans(talk)[BOB] == (4, 4)


@pytest.mark.parametrize("task", [fan_out_task, sweep_task])
def test_the_tasks_do_what_their_names_say(task: Task) -> None:
    talks = [a_convo(Phone(ALICE), Phone(BOB)) for _ in range(2)]
    task.apply(throw=True)
    assert all(spans(talk) for talk in talks)


def test_a_device_that_came_back_between_two_passes_has_one_envelope() -> None:
    talk, carol = a_convo(Phone(ALICE), Phone(BOB)), Phone(CAROL)
    bring_in(talk, talk.founder, carol)
    remove(talk, talk.founder, CAROL)
    carol.client.forget_group(bytes.fromhex(talk.id))
    bring_in(talk, talk.founder, carol)
    send(talk)
    assert fan_out() == 5
    assert spans(talk)[CAROL] == (3, 5)


@pytest.fixture
def poisoned() -> Talk:
    """A convo whose envelopes cannot be written."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    with connection.cursor() as cursor:
        cursor.execute(POISON.format(convo_id=talk.id))
    return talk


def test_a_convo_that_cannot_be_carried_blocks_nobody_and_says_why(poisoned: Talk) -> None:
    others = [a_convo(Phone(ALICE), Phone(BOB)) for _ in range(2)]
    assert fan_out() == 2
    assert all(spans(talk)[ALICE] == (1, 1) for talk in others)
    left = Dispatch.objects.get()
    assert left.convo_id == poisoned.id
    assert "not this one" in left.fault
    send(others[0])
    assert fan_out() == 1


def test_what_could_not_be_carried_is_tried_again_after_a_while(poisoned: Talk) -> None:
    assert fan_out() == 0
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER poison ON delivery_envelope")
    assert fan_out() == 0
    Dispatch.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    assert fan_out() == 1
    assert spans(poisoned)[ALICE] == (1, 1)


def test_a_device_that_came_back_has_two_spans_and_an_account_reads_their_union() -> None:
    places = {"convo_id": "c", "did": BOB}
    open_mailboxes(convo_id="c", devices=[(BOB, "phone")], first_seq=2)
    close_mailbox(**places, device_id="phone", last_seq=4)
    open_mailboxes(convo_id="c", devices=[(BOB, "phone")], first_seq=8)
    open_mailboxes(convo_id="c", devices=[(BOB, "laptop")], first_seq=4)
    assert readable_spans(did=BOB, device_id="phone") == [Span("c", 2, 4), Span("c", 8, None)]
    assert readable_spans(did=BOB, device_id=None) == [Span("c", 2, None)]


def test_closing_a_closed_mailbox_changes_nothing() -> None:
    places = {"convo_id": "c", "did": BOB, "device_id": "phone"}
    open_mailboxes(convo_id="c", devices=[(BOB, "phone")], first_seq=2)
    close_mailbox(**places, last_seq=4)
    close_mailbox(**places, last_seq=9)
    assert Mailbox.objects.get().last_seq == 4


@pytest.mark.django_db(transaction=True)
def test_passes_take_turns_even_where_they_have_nothing_in_common() -> None:
    looking, carried = Event(), Event()

    def look_slowly() -> None:
        with transaction.atomic():
            assert fan_out() == 0
            looking.set()
            assert not carried.wait(1.0)

    def carry() -> None:
        assert looking.wait(PATIENCE_SECONDS)
        a_convo(Phone(ALICE), Phone(BOB))
        assert fan_out() == 1
        carried.set()

    assert failures(at_once([look_slowly, carry])) == []


def test_devices_of_several_convos_are_nudged_by_one_statement(settings: LazySettings) -> None:
    settings.PUSH_PLATFORMS = ["ios"]
    for _ in range(3):
        a_convo(Phone(ALICE), Phone(BOB))
    with CaptureQueriesContext(connection) as asked:
        assert fan_out() == 3
    assert sum("INSERT INTO delivery_nudge" in query["sql"] for query in asked) == 1
