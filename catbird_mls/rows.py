"""Rows written by statements that are made once for each model."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import BinaryField, Field, Model
from django.db.models.expressions import DatabaseDefault

from catbird_mls.trips import write

# A statement takes at most 65,535 values, and a row has fewer than 64.
ROWS_AT_ONCE = 1000


def add_rows(rows: Sequence[Model]) -> None:
    """Insert rows of one model, many by one statement; what the database gives them they do not know afterwards."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        write(*_insertion(rows[start : start + ROWS_AT_ONCE]))


def add_row(row: Model) -> None:
    """The same for one that is to know its id."""
    sql, values = _insertion([row])
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} RETURNING {_quoted_key(type(row))}", values)
        (row.pk,) = cursor.fetchone()


def save_fields(row: Model, *names: str) -> None:
    """Write these fields of a row that exists; nothing else happens, and ``auto_now`` is honoured if it is named."""
    values = [_sent(field, row, add=False) for field in _named(type(row), names)]
    write(_update(type(row), names), [*values, row.pk])


_DEFAULT = object()


def _sent(field: "Field[Any, Any]", row: Model, *, add: bool = True) -> Any:
    value = field.pre_save(row, add)
    return _DEFAULT if isinstance(value, DatabaseDefault) else field.get_db_prep_save(value, connection)


@cache
def _inserted(model: type[Model]) -> list["Field[Any, Any]"]:
    """All columns but an id that the database gives."""
    return [field for field in model._meta.concrete_fields if field is not model._meta.auto_field]


@cache
def _named(model: type[Model], names: tuple[str, ...]) -> list["Field[Any, Any]"]:
    return [field for name in names for field in model._meta.concrete_fields if field.name == name]


def _insertion(rows: Sequence[Model]) -> tuple[str, list[Any]]:
    fields = _inserted(type(rows[0]))
    places, values = [], []
    for row in rows:
        given = [_sent(field, row) for field in fields]
        marks = ["DEFAULT" if one is _DEFAULT else _mark(field) for field, one in zip(fields, given, strict=True)]
        places.append(f"({', '.join(marks)})")
        values += [one for one in given if one is not _DEFAULT]
    return f"{_insert_into(type(rows[0]))} {', '.join(places)}", values


def _mark(field: "Field[Any, Any]") -> str:
    """Bytes are sent as they are, which as text would be twice as many."""
    return "%b" if isinstance(field, BinaryField) else "%s"


@cache
def _insert_into(model: type[Model]) -> str:
    columns = ", ".join(_quoted(field.column) for field in _inserted(model))
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES"


@cache
def _update(model: type[Model], names: tuple[str, ...]) -> str:
    changes = ", ".join(f"{_quoted(field.column)} = {_mark(field)}" for field in _named(model, names))
    return f"UPDATE {_quoted(model._meta.db_table)} SET {changes} WHERE {_quoted_key(model)} = %s"  # noqa: S608


def _quoted_key(model: type[Model]) -> str:
    return _quoted(model._meta.pk.column)


def _quoted(name: str | None) -> str:
    return connection.ops.quote_name(name or "")
