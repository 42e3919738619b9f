"""What many callers at once may not break, in one process and over three, with batches and without.

Each test fails when the convo's lock is taken out.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from openmls.client import CommitBundle

from conversations.models import Convo, Member, Message
from delivery.models import Dispatch, Envelope
from delivery.tasks import sweep
from tests.conftest import Wire
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.races.threads import Refused, at_once, failures, succeeded
from tests.races.webs import Spread, webs
from tests.situations import Talk, a_convo, a_device, packages_of
from tests.wiring import b64, wire_bytes

pytestmark = pytest.mark.django_db(transaction=True)

CALLERS = 8
ROUNDS = 2
PROCESSES = 3
MODES = {"batched": True, "single": False}

Work = Callable[[], dict[str, Any]]


@pytest.fixture(scope="module")
def urls(django_db_setup: None) -> Iterator[dict[str, list[str]]]:
    """Of three processes in each mode."""
    with webs([batched for batched in MODES.values() for _ in range(PROCESSES)]) as running:
        told = iter(running.urls)
        yield {mode: [next(told) for _ in range(PROCESSES)] for mode in MODES}


@pytest.fixture(params=["in this process", *MODES])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """To this process, or in turn to each of three."""
    if request.param not in MODES:
        yield Wire()
        return
    spread = Spread(*request.getfixturevalue("urls")[request.param])
    yield Wire(spread)
    spread.close()


@pytest.fixture(params=MODES)
def each(request: pytest.FixtureRequest, urls: dict[str, list[str]]) -> Iterator[list[Wire]]:
    """To one process each."""
    ways = [Spread(url) for url in urls[request.param]]
    yield [Wire(way) for way in ways]
    for way in ways:
        way.close()


def accepted(wire: Wire, method: str, *, by: str, **given: Any) -> dict[str, Any]:
    answer = wire.call(method, by=by, **given)
    if answer.status != 200:
        raise Refused(answer["error"])
    return answer.body


def sending(wire: Wire, talk: Talk, msg_id: str, *, by: str = ALICE) -> Work:
    given = {"msgId": msg_id, "epoch": talk.convo.epoch, "paddedSize": 512, "ciphertext": wire_bytes(msg_id.encode())}
    return partial(accepted, wire, "sendMessage", by=by, convoId=talk.id, **given)


def committing(wire: Wire, talk: Talk, phone: Phone, *newcomers: Phone) -> Work:
    made = phone.group(talk.id).commit(add=packages_of(*newcomers), update=not newcomers)
    given = {"didList": sorted({one.did for one in newcomers}), **bundle(made)}
    return partial(accepted, wire, "addMembers", by=phone.did, convoId=talk.id, deviceId=phone.device_id, **given)


def bundle(made: CommitBundle) -> dict[str, Any]:
    welcome = {"welcomeMessage": b64(made.welcome)} if made.welcome else {}
    return {"commit": b64(made.commit), "groupInfo": b64(made.group_info), **welcome}


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


def test_concurrent_add_members_no_duplicate_epochs(wire: Wire) -> None:
    for _ in range(ROUNDS):
        talk = a_crowd(CALLERS)
        newcomers = [Phone(f"did:plc:new{number}") for number in range(CALLERS)]
        for phone in newcomers:
            a_device(phone)
        results = at_once([committing(wire, talk, *pair) for pair in zip(talk.phones, newcomers, strict=True)])
        assert len(succeeded(results)) == 1
        assert failures(results) == ["EpochMismatch"] * (CALLERS - 1)
        assert talk.convo.epoch == 2
        assert Member.objects.filter(convo_id=talk.id).count() == CALLERS + 1
        require_sound_log_of_epochs(talk, 2)
        Dispatch.objects.all().delete()


def require_sound_log_of_epochs(talk: Talk, epoch: int) -> None:
    commits = Message.objects.filter(convo_id=talk.id, kind="commit").order_by("seq")
    assert list(commits.values_list("epoch", flat=True)) == list(range(1, epoch + 1))


def test_concurrent_send_and_read_unread_count_consistency(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    read: list[int] = []

    def reading() -> dict[str, Any]:
        position = 1
        for _ in range(20):
            page = wire.call("getMessages", by=BOB, convoId=talk.id, sinceSeq=position)
            assert "gapInfo" not in page.body, "an entry was stepped over"
            read.extend(message["seq"] for message in page["messages"])
            position = read[-1] if read else position
            (convo,) = wire.call("getConvos", by=BOB)["conversations"]
            assert convo["unreadCount"] == convo["lastSeq"] - 1 >= len(read), "what can be read is not counted"
        return {}

    def carrying() -> dict[str, Any]:
        for _ in range(20):
            sweep()
        return {}

    results = at_once([reading, carrying, *(sending(wire, talk, f"m{number}") for number in range(30))])
    assert failures(results) == []
    sweep()
    assert read == list(range(2, len(read) + 2))
    envelope = Envelope.objects.get(did=BOB)
    assert (envelope.first_seq, envelope.last_seq) == (2, talk.convo.last_seq) == (2, 31)


def test_message_sequence_numbers_sequential(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    results = at_once([sending(wire, talk, f"m{number}", by=(ALICE, BOB)[number % 2]) for number in range(40)])
    assert failures(results) == []
    assert sorted(place["seq"] for place in succeeded(results)) == list(range(2, 42))
    require_sound_log(talk)


def test_out_of_order_commits_prevented(wire: Wire) -> None:
    for _ in range(ROUNDS):
        talk = a_crowd(CALLERS)
        alice = talk.founder.group(talk.id)
        early = committing(wire, talk, talk.founder)
        alice.confirm()
        late = committing(wire, talk, talk.founder)
        results = at_once([late, early, *(committing(wire, talk, phone) for phone in talk.phones[1:])])
        won = [answer["newEpoch"] for answer in succeeded(results)]
        assert sorted(won) == sorted(set(won)), "an epoch was won twice"
        assert set(failures(results)) <= {"EpochMismatch", "InvalidCommit"}
        assert talk.convo.epoch == 1 + len(won)
        require_sound_log_of_epochs(talk, talk.convo.epoch)


def test_mixed_operations_no_race_conditions(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL), *(Phone(f"did:plc:friend{n}") for n in range(3)))
    newcomer = Phone("did:plc:new")
    a_device(newcomer)
    works = [sending(wire, talk, f"m{number}") for number in range(12)]
    works += [sending(wire, talk, "twice") for _ in range(4)]
    works += [committing(wire, talk, talk.founder, newcomer), committing(wire, talk, talk.phones[3])]
    works += [partial(accepted, wire, "leaveConvo", by=BOB, convoId=talk.id)]
    results = at_once([*works, sweep])
    assert set(failures(results)) <= {"EpochMismatch"}
    places = [
        answer for answer in succeeded(results) if isinstance(answer, dict) and answer.get("messageId") == "twice"
    ]
    assert len({(place["seq"], place["receivedAt"]) for place in places}) == 1
    assert len({m.msg_id for m in Message.objects.all()}) == Message.objects.count() == Convo.objects.get().last_seq
    assert talk.convo.epoch == 2
    require_sound_log_of_epochs(talk, 2)


def test_what_one_process_has_acknowledged_every_other_shows_at_once(each: list[Wire]) -> None:
    """Several devices at it, so that reads share statements where they may."""
    talks = [a_convo(Phone(f"did:plc:writer{number}"), Phone(BOB)) for number in range(PROCESSES)]
    results = at_once([partial(write_here_and_read_there, each, talk) for talk in talks])
    assert failures(results) == []


def write_here_and_read_there(each: list[Wire], talk: Talk) -> None:
    founder = talk.founder
    for turn in range(2 * PROCESSES):
        here, there = each[turn % PROCESSES], each[(turn + 1) % PROCESSES]
        seq = sending(here, talk, uuid4().hex, by=founder.did)()["seq"]
        shows(there, talk, seq=seq, epoch=1 + turn)
        committed = committing(here, talk, founder)()
        founder.group(talk.id).confirm()
        assert committed["newEpoch"] == 2 + turn
        shows(there, talk, seq=seq + 1, epoch=2 + turn)


def shows(wire: Wire, talk: Talk, *, seq: int, epoch: int) -> None:
    by, given = talk.founder.did, {"convoId": talk.id}
    assert wire.call("getEpoch", by=by, **given)["currentEpoch"] == epoch
    assert [one["seq"] for one in wire.call("getMessages", by=by, sinceSeq=seq - 1, **given)["messages"]] == [seq]
    assert [one["epoch"] for one in wire.call("getCommits", by=by, fromEpoch=epoch, **given)["commits"]] == [epoch]
    (convo,) = wire.call("getConvos", by=by)["conversations"]
    assert (convo["lastSeq"], convo["epoch"]) == (seq, epoch)
