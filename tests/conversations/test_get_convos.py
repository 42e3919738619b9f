"""blue.catbird.mls.getConvos"""

import pytest
from pytest_django import DjangoAssertNumQueries

from tests.conftest import Wire
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.races.threads import at_once, failures, succeeded
from tests.situations import a_convo, a_device

pytestmark = pytest.mark.django_db


def listed(wire: Wire, *, by: str = ALICE, **fields: object) -> list[str]:
    return [convo["groupId"] for convo in wire.call("getConvos", by=by, **fields)["conversations"]]


def test_a_convo_shows_every_device_in_it(wire: Wire) -> None:
    laptop = Phone(ALICE, "laptop")
    talk = a_convo(Phone(ALICE), laptop, Phone(BOB))
    (convo,) = wire.call("getConvos", by=BOB)["conversations"]
    assert convo["groupId"] == talk.id
    assert sorted((member["did"], member["deviceName"]) for member in convo["members"]) == [
        (ALICE, "laptop"),
        (ALICE, "phone"),
        (BOB, "phone"),
    ]
    assert (convo["epoch"], convo["lastSeq"], convo["mode"]) == (1, 1, "tracked")


def test_pages_are_complete_while_convos_are_created(wire: Wire) -> None:
    alice = Phone(ALICE)
    a_device(alice)
    ids = [a_convo(alice).id for _ in range(5)]
    first = wire.call("getConvos", by=ALICE, limit=2)
    assert [convo["groupId"] for convo in first["conversations"]] == ids[:2]
    ids.append(a_convo(alice).id)
    second = wire.call("getConvos", by=ALICE, limit=100, cursor=first["cursor"])
    assert [convo["groupId"] for convo in second["conversations"]] == ids[2:]
    assert "cursor" not in second.body


def test_only_ones_own_convos_are_listed(wire: Wire) -> None:
    a_convo(Phone(ALICE), Phone(BOB))
    assert listed(wire, by=MALLORY) == []
    assert len(listed(wire, by=BOB)) == 1


def test_a_convo_that_was_left_is_not_listed(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    wire.call("leaveConvo", by=BOB, convoId=talk.id)
    assert listed(wire, by=BOB) == []
    (convo,) = wire.call("getConvos", by=ALICE)["conversations"]
    assert [member["did"] for member in convo["members"]] == [ALICE]


def test_all_of_them_are_one_query(wire: Wire, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    alice = Phone(ALICE)
    for _ in range(3):
        a_convo(alice, Phone(BOB), Phone(CAROL))
    with django_assert_num_queries(1):
        assert len(listed(wire)) == 3


def test_refusals(wire: Wire) -> None:
    assert wire.call("getConvos", by=ALICE, limit=0).refusal == (400, "InvalidRequest")
    assert wire.call("getConvos", by=ALICE, limit=101).refusal == (400, "InvalidRequest")
    assert wire.call("getConvos", by=ALICE, cursor="nonsense").refusal == (400, "InvalidCursor")
    assert wire.call("getConvos", by=None).refusal == (401, "AuthenticationRequired")


@pytest.mark.django_db(transaction=True)
def test_pages_are_complete_while_convos_are_created_by_others_at_the_same_time(wire: Wire) -> None:
    alice = Phone(ALICE)
    a_device(alice, packages=6)
    early = [a_convo(alice).id for _ in range(6)]

    def create() -> list[str]:
        return [a_convo(Phone(CAROL), alice).id for _ in range(4)]

    results = at_once([lambda: all_pages(wire), create, lambda: all_pages(Wire())])
    assert failures(results) == []
    first, made, second = succeeded(results)
    for pages in (first, second):
        assert pages[:6] == early
        assert len(pages) == len(set(pages))
        assert set(pages[6:]) <= set(made)
    assert all_pages(wire) == early + made


def all_pages(wire: Wire) -> list[str]:
    found: list[str] = []
    cursor: dict[str, object] = {}
    while True:
        answer = wire.call("getConvos", by=ALICE, limit=1, **cursor)
        found += [convo["groupId"] for convo in answer["conversations"]]
        if "cursor" not in answer.body:
            return found
        cursor = {"cursor": answer["cursor"]}
