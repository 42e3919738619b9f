"""The ORM of hot paths: its statements are made once, and only the values change.

Making the SQL of a queryset takes Django several times as long as PostgreSQL needs to answer it. Rows come and go as
model instances all the same.
"""

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Generic, ParamSpec, TypeVar

from django.db import connection
from django.db.models import BinaryField, Expression, Field, Lookup, Model, QuerySet
from django.db.models.expressions import DatabaseDefault
from django.db.models.query import (  # type: ignore[attr-defined]
    FlatValuesListIterable,
    ModelIterable,
    get_related_populators,
)

P = ParamSpec("P")
R = TypeVar("R")
Rows = list[tuple[Any, ...]]


class Slot(Expression):
    """Where a value goes that is given at each use."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def as_sql(self, _compiler: Any, _connection: Any) -> tuple[str, list[Any]]:
        return "%s", [self]


@Field.register_lookup
class AnyOf(Lookup):  # type: ignore[type-arg]
    """``field__any=values``: as ``in``, but one statement however many values there are."""

    lookup_name = "any"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        # Without the length: a cast to it would shorten what is longer, and find it.
        kind = self.lhs.output_field.db_type(connection).partition("(")[0]
        return f"{left} = ANY({right}::{kind}[])", [*left_params, *right_params]


def compiled(build: Callable[P, QuerySet[Any, R]]) -> "Compiled[P, R]":
    """Of a function that makes a queryset of its arguments, one that gives its rows.

    The function is called once, with a ``Slot`` for each argument, which it may only compare to fields. Values are
    sent as they are given.
    """
    return Compiled(build)


class Compiled(Generic[P, R]):
    def __init__(self, build: Callable[P, QuerySet[Any, R]]) -> None:
        self._build: Callable[..., QuerySet[Any, R]] = build
        self._signature = inspect.signature(build)

    def __call__(self, *args: P.args, **more: P.kwargs) -> list[R]:
        asked = self.of(*args, **more)
        return [self._shape(row) for row in _answer_to(asked)]

    def of(self, *args: P.args, **more: P.kwargs) -> "Asked":
        """The question alone, for ``read_ahead``."""
        given = self._signature.bind(*args, **more).arguments
        _, _, sql, params = self._made
        values = [given[one.name] if isinstance(one, Slot) else one for one in params]
        return Asked(sql, values, self._converted)

    @cached_property
    def _made(self) -> tuple[QuerySet[Any, R], Any, str, Sequence[Any]]:
        queryset = self._build(**{name: Slot(name) for name in self._signature.parameters})
        compiler = queryset.query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        return queryset, compiler, sql, params

    @cached_property
    def _converters(self) -> dict[int, Any]:
        _, compiler, *_ = self._made
        found: dict[int, Any] = compiler.get_converters([column for column, *_ in compiler.select])
        return found

    def _converted(self, rows: Rows) -> Rows:
        if not self._converters:
            return rows
        converted: Rows = list(self._made[1].apply_converters(rows, self._converters))
        return converted

    @cached_property
    def _shape(self) -> Callable[[Any], Any]:
        """What becomes of a row, as it does in the queryset's own iterator."""
        queryset, compiler, *_ = self._made
        form = queryset._iterable_class
        if form is ModelIterable:
            return _instances(compiler)
        return (lambda row: row[0]) if form is FlatValuesListIterable else tuple


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


def _answer_to(asked: Asked) -> Rows:
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


def _instances(compiler: Any) -> Callable[[Any], Model]:
    info = compiler.klass_info
    model, fields = info["model"], info["select_fields"]
    begin, end = fields[0], fields[-1] + 1
    names = [column.target.attname for column, *_ in compiler.select[begin:end]]
    populators = get_related_populators(info, compiler.select, connection.alias)

    def instance(row: Any) -> Model:
        made: Model = model.from_db(connection.alias, names, row[begin:end])
        for populator in populators:
            populator.populate(row, made)
        return made

    return instance


def add_rows(rows: Sequence[Model]) -> None:
    """Insert rows of one model by one statement; what the database gives them they do not know afterwards."""
    if rows:
        write(*_insertion(rows))


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
