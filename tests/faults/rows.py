"""All rows of ours, to be put back before each run and compared after it."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection, transaction

OURS = """
SELECT tablename FROM pg_tables
 WHERE tablename ~ '^(conversations|keypackages|delivery|journal)_' AND schemaname = 'public' ORDER BY 1
"""
# Whose turn it is with a nudge: each turn has a number of its own.
NO_OUTCOME = {("delivery_nudge", "claim")}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """The tables as they were, and where in them which ids and moments stood."""

    tables: Mapping[str, bytes]
    known: frozenset[tuple[str, str, Any]]


def keep() -> Kept:
    tables = _tables()
    cells = ((table, name, value) for table in tables for row in _read(table) for name, value in row.items())
    known = frozenset(cell for cell in cells if _may_be_new(*cell[1:]))
    filled = {table: content for table in tables if (content := _copied(table))}
    return Kept(filled, known)


def put_back(kept: Kept | None) -> None:
    """The tables hold what was kept and nothing else; None is nothing at all."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in _tables():
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608
        for table, content in (kept.tables if kept else {}).items():
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(content)


def outcome(kept: Kept) -> dict[str, list[str]]:
    """What the tables say, with ids and moments that were not there before told as new."""
    return {table: sorted(_told(table, row, kept) for row in _read(table)) for table in _tables()}


def _told(table: str, row: Row, kept: Kept) -> str:
    shown = {name: value for name, value in row.items() if (table, name) not in NO_OUTCOME}
    return str({name: _cell(table, name, value, kept) for name, value in shown.items()})


def _cell(table: str, name: str, value: Any, kept: Kept) -> Any:
    return "new" if _may_be_new(name, value) and (table, name, value) not in kept.known else value


def _may_be_new(name: str, value: Any) -> bool:
    return name == "id" or isinstance(value, date)


def _tables() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(OURS)
        return [name for (name,) in cursor.fetchall()]


def _read(table: str) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")  # noqa: S608
        names = [column.name for column in cursor.description]
        return [dict(zip(names, map(_plain, row), strict=True)) for row in cursor.fetchall()]


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _copied(table: str) -> bytes:
    with closing(connection.cursor()) as cursor, cursor.copy(f"COPY {table} TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)
