"""What many callers at once may not break, with real threads; each test fails when the convo's lock is taken out."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from conversations.models import Convo, Member, Message
from conversations.pages import MessagesAsked, message_page
from conversations.selectors import Asking
from conversations.services import add_members, append_message, leave_convo
from delivery.fanout import fan_out
from delivery.models import Dispatch, Envelope
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.races.threads import at_once, failures, succeeded
from tests.situations import Talk, a_convo, a_device, bundle_of, packages_of

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 8
ROUNDS = 3


def sending(talk: Talk, msg_id: str, *, by: str = ALICE, epoch: int | None = None) -> Callable[[], Any]:
    return partial(
        append_message,
        convo_id=talk.id,
        who=Asking(by),
        msg_id=msg_id,
        epoch=talk.convo.epoch if epoch is None else epoch,
        ciphertext=msg_id.encode(),
    )


def committing(talk: Talk, phone: Phone, *newcomers: Phone) -> Callable[[], Any]:
    made = phone.group(talk.id).commit(add=packages_of(*newcomers), update=not newcomers)
    return partial(
        add_members,
        convo_id=talk.id,
        who=Asking(phone.did, phone.device_id),
        dids=sorted({one.did for one in newcomers}),
        bundle=bundle_of(made),
        key=None,
    )


def a_crowd(size: int) -> Talk:
    """A convo of that many devices, all at one epoch."""
    return a_convo(Phone(ALICE), *(Phone(f"did:plc:friend{number}") for number in range(size - 1)))


def require_sound_log(talk: Talk) -> None:
    """Dense places, one commit an epoch, and a dispatch for every entry."""
    entries = Message.objects.filter(convo_id=talk.id).order_by("seq")
    count = entries.count()
    assert list(entries.values_list("seq", flat=True)) == list(range(1, count + 1))
    assert talk.convo.last_seq == count
    epochs = list(entries.filter(kind="commit").values_list("epoch", flat=True))
    assert epochs == list(range(1, talk.convo.epoch + 1))
    assert set(Dispatch.objects.values_list("seq", flat=True)) == set(range(1, count + 1))


def test_concurrent_add_members_no_duplicate_epochs() -> None:
    for _ in range(ROUNDS):
        talk = a_crowd(CALLERS)
        newcomers = [Phone(f"did:plc:new{number}") for number in range(CALLERS)]
        for phone in newcomers:
            a_device(phone)
        results = at_once([committing(talk, *pair) for pair in zip(talk.phones, newcomers, strict=True)])
        assert len(succeeded(results)) == 1
        assert failures(results) == ["EpochMismatch"] * (CALLERS - 1)
        assert talk.convo.epoch == 2
        assert Member.objects.filter(convo_id=talk.id).count() == CALLERS + 1
        require_sound_log_of_epochs(talk, 2)
        Dispatch.objects.all().delete()


def require_sound_log_of_epochs(talk: Talk, epoch: int) -> None:
    commits = Message.objects.filter(convo_id=talk.id, kind="commit").order_by("seq")
    assert list(commits.values_list("epoch", flat=True)) == list(range(1, epoch + 1))


def test_concurrent_send_and_read_unread_count_consistency() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    seen: list[list[int]] = []

    def reading() -> None:
        position = 1
        for _ in range(40):
            page = message_page(MessagesAsked(talk.id, Asking(BOB), after=position, limit=100))
            assert not page.missing, "an entry was stepped over"
            seen.append([message.seq for message in page.messages])
            position = page.messages[-1].seq if page.messages else position

    def carrying() -> None:
        for _ in range(20):
            fan_out()

    results = at_once([reading, carrying, *(sending(talk, f"m{number}") for number in range(30))])
    assert failures(results) == []
    fan_out()
    read = [seq for page in seen for seq in page]
    assert read == list(range(2, len(read) + 2))
    envelope = Envelope.objects.get(did=BOB)
    assert (envelope.first_seq, envelope.last_seq) == (2, talk.convo.last_seq) == (2, 31)


def test_message_sequence_numbers_sequential() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    results = at_once([sending(talk, f"m{number}", by=(ALICE, BOB)[number % 2]) for number in range(40)])
    assert failures(results) == []
    assert sorted(place.seq for place in succeeded(results)) == list(range(2, 42))
    require_sound_log(talk)


def test_out_of_order_commits_prevented() -> None:
    for _ in range(ROUNDS):
        talk = a_crowd(CALLERS)
        alice = talk.founder.group(talk.id)
        early = committing(talk, talk.founder)
        alice.confirm()
        late = committing(talk, talk.founder)
        results = at_once([late, early, *(committing(talk, phone) for phone in talk.phones[1:])])
        won = [answer["newEpoch"] for answer in succeeded(results)]
        assert sorted(won) == sorted(set(won)), "an epoch was won twice"
        assert set(failures(results)) <= {"EpochMismatch", "InvalidCommit"}
        assert talk.convo.epoch == 1 + len(won)
        require_sound_log_of_epochs(talk, talk.convo.epoch)


def test_mixed_operations_no_race_conditions() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL), *(Phone(f"did:plc:friend{n}") for n in range(3)))
    newcomer = Phone("did:plc:new")
    a_device(newcomer)
    works: list[Callable[[], Any]] = [sending(talk, f"m{number}") for number in range(12)]
    works += [sending(talk, "twice") for _ in range(4)]
    works += [committing(talk, talk.founder, newcomer), committing(talk, talk.phones[3])]
    works += [partial(leave_convo, convo_id=talk.id, who=Asking(BOB), target_did=None, proposal=None)]
    results = at_once([*works, fan_out])
    assert set(failures(results)) <= {"EpochMismatch"}
    twice = {place.seq for place in succeeded(results) if getattr(place, "msg_id", "") == "twice"}
    assert len(twice) == 1
    assert len({m.msg_id for m in Message.objects.all()}) == Message.objects.count() == Convo.objects.get().last_seq
    assert talk.convo.epoch == 2
    require_sound_log_of_epochs(talk, 2)
