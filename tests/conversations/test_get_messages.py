"""blue.catbird.mls.getMessages"""

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from conversations import shapes
from conversations.models import Message
from conversations.pages import MessagesAsked
from conversations.selectors import Asking
from conversations.services import append_message
from tests.conftest import Wire
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, bring_in, remove

pytestmark = pytest.mark.django_db


def write(talk: Talk, count: int, *, size: int = 5) -> None:
    """Application messages by the founder."""
    for _ in range(count):
        append_message(
            convo_id=talk.id,
            who=Asking(talk.founder.did),
            msg_id=f"m{talk.convo.last_seq + 1}",
            epoch=talk.convo.epoch,
            ciphertext=b"x" * size,
        )


def seqs(wire: Wire, talk: Talk, *, by: str = ALICE, **fields: object) -> list[int]:
    return [message["seq"] for message in wire.call("getMessages", by=by, convoId=talk.id, **fields)["messages"]]


def test_entries_come_in_the_order_of_the_log(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    write(talk, 3)
    answer = wire.call("getMessages", by=ALICE, convoId=talk.id)
    assert [(one["seq"], one["messageType"], one["epoch"]) for one in answer["messages"]] == [
        (1, "commit", 1),
        (2, "app", 1),
        (3, "app", 1),
        (4, "app", 1),
    ]
    assert answer["lastSeq"] == 4
    assert "gapInfo" not in answer.body
    assert "cursor" not in answer.body


def test_pages_follow_one_another(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    write(talk, 5)
    first = wire.call("getMessages", by=ALICE, convoId=talk.id, limit=2)
    assert first["cursor"] == "2"
    assert seqs(wire, talk, limit=2, cursor="2") == [3, 4]
    assert seqs(wire, talk, sinceSeq=4) == [5]
    assert seqs(wire, talk, sinceSeq=5) == []
    assert seqs(wire, talk, sinceSeq=99) == []


def test_a_page_is_cut_by_bytes_but_never_empty(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "PAGE_MAX_BYTES", 100)
    talk = a_convo(Phone(ALICE))
    write(talk, 2, size=60)
    write(talk, 1, size=500)
    assert seqs(wire, talk) == [1]
    assert seqs(wire, talk, sinceSeq=2) == [3]
    assert wire.call("getMessages", by=ALICE, convoId=talk.id)["cursor"] == "1"


def test_a_member_reads_from_the_entry_after_the_one_that_brought_it_in(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    write(talk, 2)
    bring_in(talk, talk.founder, Phone(CAROL))
    write(talk, 1)
    assert seqs(wire, talk, by=BOB) == [2, 3, 4, 5]
    assert seqs(wire, talk, by=CAROL) == [5]


def test_who_was_removed_still_gets_what_was_said_before_and_then_nothing(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    write(talk, 2)
    remove(talk, talk.founder, BOB)
    write(talk, 1)
    assert seqs(wire, talk, by=BOB) == [2, 3, 4]
    refused = wire.call("getMessages", by=BOB, convoId=talk.id, sinceSeq=4)
    assert refused.refusal == (403, "NotMember")
    assert refused.body == wire.call("getMessages", by=MALLORY, convoId=talk.id).body


def test_a_hole_in_the_log_is_told(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    write(talk, 5)
    Message.objects.filter(seq__in=[2, 4]).delete()
    answer = wire.call("getMessages", by=ALICE, convoId=talk.id)
    assert answer["gapInfo"] == {"hasGaps": True, "missingSeqs": [2, 4], "totalMessages": 3}


def test_an_account_reads_what_any_of_its_devices_may_read(wire: Wire) -> None:
    laptop = Phone(BOB, "laptop")
    talk = a_convo(Phone(ALICE), Phone(BOB))
    write(talk, 1)
    bring_in(talk, talk.founder, laptop)
    write(talk, 1)
    assert seqs(wire, talk, by=BOB) == [2, 3, 4]
    assert seqs(wire, talk, by=BOB, deviceId=laptop.device_id) == [4]


def test_refusals(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    assert wire.call("getMessages", by=MALLORY, convoId=talk.id).refusal == (403, "NotMember")
    assert wire.call("getMessages", by=ALICE, convoId="nowhere").refusal == (403, "NotMember")
    assert wire.call("getMessages", by=ALICE, convoId=talk.id, deviceId="no").refusal == (403, "NotMember")
    assert wire.call("getMessages", by=ALICE, convoId=talk.id, limit=101).refusal == (400, "InvalidRequest")
    assert wire.call("getMessages", by=ALICE, convoId=talk.id, sinceSeq=-1).refusal == (400, "InvalidRequest")
    assert wire.call("getMessages", by=ALICE, convoId=talk.id, cursor="x").refusal == (400, "InvalidCursor")
    assert wire.call("getMessages", by=None, convoId=talk.id).refusal == (401, "AuthenticationRequired")


def test_a_page_is_one_query_whatever_it_holds(wire: Wire, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    write(talk, 30)
    for fields in ({}, {"limit": 1}, {"limit": 100}, {"sinceSeq": 25}):
        with django_assert_num_queries(1):
            seqs(wire, talk, by=BOB, **fields)


def test_of_entries_a_page_has_no_room_for_the_body_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "PAGE_MAX_BYTES", 250)
    talk = a_convo(Phone(ALICE))
    write(talk, 5, size=100)
    asked = MessagesAsked(talk.id, Asking(ALICE), after=0, limit=100)
    with connection.cursor() as cursor:
        cursor.execute(asked.statement, asked.values())
        assert [row[-1] is not None for row in cursor.fetchall()] == [True, True, False, False, False]


def test_beyond_every_number_there_is_nothing(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    write(talk, 2)
    for fields in ({"cursor": "9" * 19}, {"sinceSeq": 10**18}):
        assert seqs(wire, talk, by=BOB, **fields) == []
    for fields in ({"fromEpoch": 10**30}, {"fromEpoch": 2, "toEpoch": 10**30}, {"fromEpoch": 0, "cursor": "9" * 30}):
        assert wire.call("getCommits", by=BOB, convoId=talk.id, **fields)["commits"] == []


def test_reading_page_by_page_while_others_write_gets_every_entry_once(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE))
    write(talk, 10)
    seen: list[int] = []
    while page := seqs(wire, talk, limit=3, sinceSeq=seen[-1] if seen else 0):
        seen += page
        if len(seen) < 20:
            write(talk, 2)
    assert seen == list(range(1, talk.convo.last_seq + 1))
