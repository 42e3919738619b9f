"""The order of a convo's log, decided without I/O: what comes next, and what to do with it."""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import Enum

from catbird.wire import Entry


@dataclass(frozen=True)
class Run:
    """Entries to apply one after the other, and the places that are missing behind them."""

    entries: tuple[Entry, ...]
    missing: tuple[int, int] | None = None


def next_run(after: int | None, entries: Iterable[Entry]) -> Run:
    """What continues the log behind ``after``.

    Order of arrival and repeats do not matter. A device that has just joined knows no place yet (``after``
    is None) and begins with the first entry it is given, because its log starts behind the commit that
    brought it in.
    """
    by_seq = {entry.seq: entry for entry in entries if after is None or entry.seq > after}
    run: list[Entry] = []
    expected = after + 1 if after is not None else min(by_seq, default=0)
    for seq in sorted(by_seq):
        if seq != expected:
            return Run(tuple(run), (expected, seq - 1))
        run.append(by_seq[seq])
        expected += 1
    return Run(tuple(run))


class Action(Enum):
    SKIP = "skip"
    OWN_MESSAGE = "own message"
    CONFIRM = "confirm"
    PROCESS = "process"
    DECRYPT = "decrypt"
    LOST = "lost"


@dataclass(frozen=True)
class Position:
    """Where this device stands in a convo when an entry comes."""

    epoch: int
    join_epoch: int
    own_ids: Set[str] = frozenset()
    pending_commit: bytes | None = None


def action(entry: Entry, position: Position) -> Action:
    """What an entry that is next in the log means for this device."""
    if entry.kind == "commit":
        return _commit_action(entry, position)
    if entry.kind == "proposal":
        return Action.PROCESS if entry.epoch == position.epoch else Action.SKIP
    if entry.id in position.own_ids:
        return Action.OWN_MESSAGE
    return Action.DECRYPT if entry.epoch >= position.join_epoch else Action.SKIP


def _commit_action(entry: Entry, position: Position) -> Action:
    """A commit is next when it leads to the following epoch; a later one means that commits are missing."""
    if entry.epoch <= position.epoch:
        return Action.SKIP
    if entry.epoch > position.epoch + 1:
        return Action.LOST
    return Action.CONFIRM if entry.data == position.pending_commit else Action.PROCESS
