"""Fewer waits for the database: what is asked together, and what is written in one go.

The order of statements is that of the code, and each sees what it would have seen alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection

Rows = list[tuple[Any, ...]]


@dataclass(eq=False, frozen=True, slots=True)
class Asked:
    """A question with its values; the same statement with the same values is the same question."""

    sql: str
    values: list[Any]
    converted: Callable[[Rows], Rows]

    def is_as(self, other: "Asked") -> bool:
        return self.sql == other.sql and self.values == other.values


class _Session(threading.local):
    """What this thread has asked in advance, and what it has still to write."""

    def __init__(self) -> None:
        self.answers: list[tuple[Asked, Rows]] = []
        self.writes: list[tuple[str, Sequence[Any]]] | None = None


_session = _Session()


def answer_to(asked: Asked) -> Rows:
    for place, (known, rows) in enumerate(_session.answers):
        if known.is_as(asked):
            del _session.answers[place]
            return rows
    with connection.cursor() as cursor:
        cursor.execute(asked.sql, asked.values)
        return asked.converted(cursor.fetchall())


@contextmanager
def read_ahead(*questions: Asked) -> Iterator[None]:
    """Ask all of this at once, in this order, inside a transaction; who asks it in the block gets the answer once.

    One wait for the database instead of many. Whoever opens the block sees to it that an answer is still true when it
    is asked for: that a lock keeps others from changing it, which may be the first question, and that the block
    changes it no sooner.
    """
    _session.answers += zip(questions, _answers_to(questions), strict=True)
    try:
        yield
    finally:
        ours = {id(asked) for asked in questions}
        _session.answers = [one for one in _session.answers if id(one[0]) not in ours]


def _answers_to(questions: Sequence[Asked]) -> list[Rows]:
    if not questions:
        return []
    with _pipeline():
        cursors = [connection.cursor() for _ in questions]
        for cursor, asked in zip(cursors, questions, strict=True):
            cursor.execute(asked.sql, asked.values)
        return [asked.converted(cursor.fetchall()) for cursor, asked in zip(cursors, questions, strict=True)]


@contextmanager
def _pipeline() -> Iterator[None]:
    """Statements are sent without waiting for the one before; an error is raised where it is met or at the end."""
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


@contextmanager
def in_one_go() -> Iterator[None]:
    """Rows that are added or saved in the block are sent together, in their order: at its end, or before any other
    statement, which finds what it would have found without the block.
    """
    if _session.writes is not None:
        yield
        return
    _session.writes = []
    try:
        with connection.execute_wrapper(_after_writes):
            yield
            _send_writes()
    finally:
        _session.writes = None


def _after_writes(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
    _send_writes()
    return execute(sql, params, many, context)


def _send_writes() -> None:
    waiting, _session.writes = _session.writes or [], []
    if waiting:
        with _pipeline():
            for sql, values in waiting:
                connection.cursor().execute(sql, values)


def write(sql: str, values: Sequence[Any]) -> None:
    """Send a statement that gives nothing back, at once or with what else is written in one go."""
    if _session.writes is not None:
        _session.writes.append((sql, values))
        return
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
