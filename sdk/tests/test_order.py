import itertools

import pytest

from catbird.order import Action, Position, action, next_run
from catbird.wire import Entry


def an_entry(seq: int = 1, *, kind: str = "app", epoch: int = 3, data: bytes = b"", id: str = "m") -> Entry:
    return Entry(id, "c", seq, epoch, kind, data, "2026-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    ("after", "arrived", "applied", "missing"),
    [
        (0, [], [], None),
        (0, [1, 2, 3], [1, 2, 3], None),
        (0, [3, 1, 2, 2], [1, 2, 3], None),
        (4, [3, 4, 5], [5], None),
        (4, [6, 7], [], (5, 5)),
        (0, [1, 4, 5], [1], (2, 3)),
        (None, [], [], None),
        (None, [7, 8], [7, 8], None),
        (None, [7, 9], [7], (8, 8)),
    ],
)
def test_a_run_is_what_follows_without_a_gap(
    after: int | None, arrived: list[int], applied: list[int], missing: tuple[int, int] | None
) -> None:
    run = next_run(after, [an_entry(seq) for seq in arrived])
    assert [entry.seq for entry in run.entries] == applied
    assert run.missing == missing


def test_any_order_of_arrival_gives_the_same_run() -> None:
    entries = [an_entry(seq) for seq in (2, 3, 4, 6)]
    runs = {next_run(1, order) for order in itertools.permutations(entries)}
    assert len(runs) == 1


HERE = Position(epoch=3, join_epoch=2, own_ids=frozenset({"mine"}), pending_commit=b"my commit")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (an_entry(kind="commit", epoch=4, data=b"theirs"), Action.PROCESS),
        (an_entry(kind="commit", epoch=4, data=b"my commit"), Action.CONFIRM),
        (an_entry(kind="commit", epoch=3, data=b"my commit"), Action.SKIP),
        (an_entry(kind="commit", epoch=5, data=b"theirs"), Action.LOST),
        (an_entry(kind="proposal", epoch=3), Action.PROCESS),
        (an_entry(kind="proposal", epoch=2), Action.SKIP),
        (an_entry(epoch=3), Action.DECRYPT),
        (an_entry(epoch=2), Action.DECRYPT),
        (an_entry(epoch=1), Action.SKIP),
        (an_entry(epoch=3, id="mine"), Action.OWN_MESSAGE),
    ],
)
def test_what_an_entry_means_depends_on_where_the_device_stands(entry: Entry, expected: Action) -> None:
    assert action(entry, HERE) is expected
