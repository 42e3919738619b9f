"""What is kept and what goes: messages by their age, commits when everybody has them, nothing of anybody else's."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F

from conversations.models import Answer, Kind, Message
from conversations.selectors import Asking
from conversations.services import append_message
from conversations.services.retention import drop_old_entries, drop_old_records
from delivery.fanout import fan_out
from delivery.models import Envelope, Mailbox
from delivery.retention import drop_ended_mailboxes
from tests.conftest import Wire, everything_written
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.races.threads import at_once, succeeded
from tests.situations import Talk, a_convo, bring_in, remove, update
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    """Commits at 1 and 4, messages between and after them."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    say(talk)
    say(talk)
    update(talk, talk.founder)
    say(talk)
    return talk


def say(talk: Talk) -> None:
    append_message(
        convo_id=talk.id, who=Asking(ALICE), msg_id=uuid4().hex, epoch=talk.convo.epoch, ciphertext=b"a message"
    )


def grow_old(talk: Talk, *, days: int, until: int = 1000) -> None:
    Message.objects.filter(convo_id=talk.id, seq__lte=until).update(received_at=F("received_at") - timedelta(days=days))


def kept(talk: Talk) -> list[int]:
    return list(Message.objects.filter(convo_id=talk.id).order_by("seq").values_list("seq", flat=True))


def acknowledge(talk: Talk, seq: int) -> None:
    Mailbox.objects.filter(convo_id=talk.id).update(acked_seq=seq)


def test_messages_go_when_they_are_old_and_the_next_one_has_the_next_place(talk: Talk) -> None:
    grow_old(talk, days=31, until=3)
    before = talk.convo.last_seq
    assert drop_old_entries() == 2
    assert kept(talk) == [1, 4, 5]
    assert (talk.convo.purged_seq, talk.convo.purged_epoch) == (3, None)
    say(talk)
    assert talk.convo.last_seq == before + 1
    written = everything_written()
    assert drop_old_entries() == 0
    assert everything_written() == written


def test_commits_stay_until_every_device_has_them(talk: Talk) -> None:
    grow_old(talk, days=31)
    acknowledge(talk, 3)
    drop_old_entries()
    # The second device reads from place 2 on, so nobody is owed the first commit.
    assert kept(talk) == [4]
    assert talk.convo.purged_epoch == 1


def test_one_device_that_lags_keeps_the_commits_for_itself(talk: Talk) -> None:
    grow_old(talk, days=31)
    acknowledge(talk, 5)
    Mailbox.objects.filter(did=ALICE).update(acked_seq=0)
    drop_old_entries()
    assert kept(talk) == [1, 4]


def test_in_the_end_commits_go_too_and_who_comes_late_is_told(wire: Wire, talk: Talk) -> None:
    grow_old(talk, days=91, until=4)
    drop_old_entries()
    assert kept(talk) == [5]
    for by in (ALICE, BOB):
        assert wire.call("getCommits", by=by, convoId=talk.id, fromEpoch=1).refusal == (410, "OutdatedCursor")
        assert wire.call("getCommits", by=by, convoId=talk.id, fromEpoch=3)["commits"] == []
    page = wire.call("getMessages", by=BOB, convoId=talk.id)
    assert [message["seq"] for message in page["messages"]] == [5]
    assert page["gapInfo"]["missingSeqs"] == [2, 3, 4]


def test_a_newcomer_misses_nothing(wire: Wire, talk: Talk) -> None:
    grow_old(talk, days=91)
    drop_old_entries()
    bring_in(talk, talk.founder, Phone(CAROL))
    assert [
        commit["epoch"] for commit in wire.call("getCommits", by=CAROL, convoId=talk.id, fromEpoch=0)["commits"]
    ] == [3]


def test_the_former_members_mailbox_goes_last(talk: Talk) -> None:
    fan_out()
    remove(talk, talk.founder, BOB)
    assert drop_ended_mailboxes() == 0
    Mailbox.objects.filter(did=BOB).update(closed_at=F("closed_at") - timedelta(days=91))
    assert drop_ended_mailboxes() == 1
    assert not Mailbox.objects.filter(did=BOB).exists()
    assert not Envelope.objects.filter(did=BOB).exists()
    assert Envelope.objects.filter(did=ALICE).exists()


def test_first_answers_go_when_nobody_asks_again(wire: Wire, talk: Talk) -> None:
    given = {"convoId": talk.id, "targetDid": BOB, "idempotencyKey": "k1"}
    wire.call("removeMember", by=ALICE, **given)
    Answer.objects.create(convo_id=talk.id, did=ALICE, nsid="x", key="k", digest=b"", answer={})
    Answer.objects.update(created_at=F("created_at") - timedelta(days=91))
    assert drop_old_records() == 1
    assert not Answer.objects.exists()


def test_an_opaque_convo_remembers_that_it_had_a_first_commit(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=False)
    grow_old(talk, days=91)
    drop_old_entries()
    assert kept(talk) == []
    commit = talk.founder.group(talk.id).commit(update=True).commit
    answer = wire.call("addMembers", by=ALICE, convoId=talk.id, didList=[BOB], commit=b64(commit))
    assert answer.refusal == (409, "AlreadyMember")


@pytest.mark.django_db(transaction=True)
def test_two_at_once_drop_everything_once(talk: Talk) -> None:
    grow_old(talk, days=31)
    results = at_once([drop_old_entries] * 4)
    assert sum(succeeded(results)) == 3
    assert set(Message.objects.values_list("kind", flat=True)) == {Kind.COMMIT}
