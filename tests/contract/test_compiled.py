"""What a compiled statement gives is what the ORM gives."""

from collections.abc import Sequence
from threading import Event

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catbird_mls.compiled import compiled
from catbird_mls.rows import ROWS_AT_ONCE, add_row, add_rows, save_fields
from catbird_mls.trips import in_one_go, read_ahead, write
from conversations.locks import locked_convo
from conversations.models import CONVO_ID_MAX_LENGTH, Answer, Convo, Epoch, GroupState, Member
from keypackages.models import KeyPackage
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.infra.processes import wait_until
from tests.live import PATIENCE_SECONDS
from tests.races.threads import at_once
from tests.situations import Talk, a_convo, bring_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))


@compiled
def members(convo_id: str, dids: Sequence[str]) -> QuerySet[Member]:
    return Member.objects.filter(convo_id=convo_id, did__any=dids, left_at__isnull=True).order_by("-did")


@compiled
def names(convo_id: str, above: int) -> QuerySet[Member, str]:
    return Member.objects.filter(convo_id=convo_id, leaf_index__gt=above).order_by("did").values_list("did", flat=True)


@compiled
def leaves(convo_id: str) -> QuerySet[Member, tuple[str, int | None]]:
    return Member.objects.filter(convo_id=convo_id).order_by("did").values_list("did", "leaf_index")


@compiled
def convos(ids: Sequence[str]) -> QuerySet[Convo]:
    return Convo.objects.filter(pk__any=ids)


@compiled
def packages(references: Sequence[bytes]) -> QuerySet[KeyPackage]:
    return KeyPackage.objects.filter(reference__any=references).select_related("device").order_by("pk")


@compiled
def epochs(convo_id: str) -> QuerySet[Epoch]:
    return Epoch.objects.filter(convo_id=convo_id).order_by("epoch")


@compiled
def states(convo_id: str) -> QuerySet[GroupState]:
    return GroupState.objects.filter(convo_id=convo_id).defer("ratchet_tree")


def an_answer(talk: Talk, key: str) -> Answer:
    return Answer(convo_id=talk.id, did=ALICE, nsid="x", key=key, digest=b"", answer={})


def write_answers(talk: Talk, *keys: str, then: Exception | None = None) -> None:
    with in_one_go():
        for key in keys:
            add_rows([an_answer(talk, key)])
        if then is not None:
            raise then


def values_of(row: object) -> dict[str, object]:
    return {name: value for name, value in vars(row).items() if name != "_state"}


def test_models_with_all_their_fields(talk: Talk) -> None:
    expected = Member.objects.filter(convo_id=talk.id, did__in=[ALICE, CAROL]).order_by("-did")
    found = members(talk.id, [ALICE, CAROL])
    assert [values_of(row) for row in found] == [values_of(row) for row in expected]
    assert [row._state.adding for row in found] == [False, False]
    assert members(talk.id, []) == []
    assert members("another", [ALICE]) == []


def test_single_values_and_tuples(talk: Talk) -> None:
    assert names(talk.id, 0) == [BOB, CAROL]
    (last,) = names(talk.id, above=1)
    assert dict(leaves(talk.id)) == {ALICE: 0, last: 2, ({BOB, CAROL} - {last}).pop(): 1}


def test_related_rows_json_and_deferred_fields(talk: Talk) -> None:
    expected = list(KeyPackage.objects.select_related("device").order_by("pk"))
    with CaptureQueriesContext(connection) as asked:
        found = packages([bytes(package.reference) for package in expected])
        assert [package.device.did for package in found] == [package.did for package in expected]
    assert len(asked) == 1
    assert [epoch.added for epoch in epochs(talk.id)] == [epoch.added for epoch in Epoch.objects.order_by("epoch")]
    (state,) = states(talk.id)
    assert state.get_deferred_fields() == {"ratchet_tree"}
    assert bytes(state.ratchet_tree) == bytes(GroupState.objects.get().ratchet_tree)


def test_a_value_longer_than_its_column_finds_nothing() -> None:
    name = "a" * CONVO_ID_MAX_LENGTH
    Convo.objects.create(pk=name, group_id=b"", creator_did=ALICE, cipher_suite="", mode="opaque", epoch=0)
    assert [convo.pk for convo in convos([name])] == [name]
    assert convos([name + "a"]) == []


def test_the_function_is_asked_once() -> None:
    asked = []

    @compiled
    def counted(did: str) -> QuerySet[Member]:
        asked.append(did)
        return Member.objects.filter(did=did)

    assert [counted(ALICE), counted(BOB)] == [[], []]
    assert len(asked) == 1


@pytest.mark.django_db(transaction=True)
def test_threads_share_a_statement(talk: Talk) -> None:
    works = [lambda did=did: [row.did for row in members(talk.id, [did])] for did in (ALICE, BOB, CAROL) * 4]
    assert at_once(works) == [[did] for did in (ALICE, BOB, CAROL) * 4]


def test_added_rows_have_the_defaults_of_the_database(talk: Talk) -> None:
    given = {"convo_id": talk.id, "did": ALICE, "nsid": "x", "digest": b"d"}
    rows = [Answer(key=key, answer={"n": [1, None]}, **given) for key in ("one", "two")]
    with CaptureQueriesContext(connection) as asked:
        add_rows(rows)
        add_rows([])
    assert len(asked) == 1
    kept = Answer.objects.order_by("key")
    assert [(row.key, row.answer, bytes(row.digest)) for row in kept] == [
        ("one", {"n": [1, None]}, b"d"),
        ("two", {"n": [1, None]}, b"d"),
    ]
    assert all(abs((timezone.now() - row.created_at).total_seconds()) < 60 for row in kept)


def test_more_rows_than_a_statement_takes(talk: Talk) -> None:
    add_rows([an_answer(talk, str(number)) for number in range(12_000)])
    assert Answer.objects.count() == 12_000


def test_no_row_has_so_many_values_that_a_statement_does_not_take_its_share() -> None:
    widest = max(len(model._meta.concrete_fields) for model in apps.get_models())
    assert widest * ROWS_AT_ONCE < 65_536


def test_a_row_added_alone_knows_its_id(talk: Talk) -> None:
    row = an_answer(talk, "one")
    add_row(row)
    assert Answer.objects.get().pk == row.pk


def test_saved_fields_and_no_others(talk: Talk) -> None:
    state = GroupState.objects.get()
    before = state.updated_at
    state.fault, state.epoch = "broken", 7
    save_fields(state, "fault", "updated_at")
    kept = GroupState.objects.get()
    assert (kept.fault, kept.epoch) == ("broken", 1)
    assert kept.updated_at > before


def test_a_second_commit_costs_no_query_more_than_the_first(talk: Talk) -> None:
    counts = []
    for number in range(2):
        with CaptureQueriesContext(connection) as asked:
            bring_in(talk, talk.founder, Phone(f"did:plc:guest{number}"))
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_an_answer_read_ahead_is_given_once_and_to_no_other_question(talk: Talk) -> None:
    with transaction.atomic(), read_ahead(members.of(talk.id, [BOB]), names.of(talk.id, 0)):
        Member.objects.filter(did=BOB).update(did="did:plc:nobody")
        assert [row.did for row in members(talk.id, [ALICE])] == [ALICE]
        assert [row.did for row in members(talk.id, [BOB])] == [BOB]
        assert members(talk.id, [BOB]) == []
        with read_ahead(names.of(talk.id, 1)):
            assert BOB in names(talk.id, 0)
        assert BOB not in names(talk.id, 0)


@pytest.mark.django_db(transaction=True)
def test_what_is_asked_with_a_lock_is_answered_once_it_is_held(talk: Talk) -> None:
    is_held = Event()

    def first() -> None:
        with locked_convo(talk.id):
            is_held.set()
            wait_until(somebody_waits_for_a_lock)
            Member.objects.filter(did=BOB).update(is_moderator=True)

    def second() -> bool:
        assert is_held.wait(PATIENCE_SECONDS)
        with locked_convo(talk.id, members.of(talk.id, [BOB])):
            return members(talk.id, [BOB])[0].is_moderator

    assert at_once([first, second]) == [True]


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted")
        return cursor.rowcount > 0


def test_what_is_written_in_one_go_is_there_before_anything_else_is_asked(talk: Talk) -> None:
    with transaction.atomic(), in_one_go():
        add_rows([an_answer(talk, "one")])
        write("UPDATE conversations_answer SET nsid = %s", ["y"])
        with CaptureQueriesContext(connection) as asked:
            assert list(Answer.objects.values_list("key", "nsid")) == [("one", "y")]
        assert len(asked) == 3
        with in_one_go():
            add_rows([an_answer(talk, "two")])
    assert Answer.objects.count() == 2


def test_a_write_that_fails_fails_the_block_and_leaves_nothing(talk: Talk) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        write_answers(talk, "one", "one", "two")
    assert not Answer.objects.exists()


def test_a_block_that_fails_writes_nothing(talk: Talk) -> None:
    with pytest.raises(RuntimeError):
        write_answers(talk, "one", then=RuntimeError())
    add_rows([an_answer(talk, "two")])
    assert [answer.key for answer in Answer.objects.all()] == ["two"]
