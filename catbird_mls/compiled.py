"""The ORM of hot paths: its statements are made once, and only the values change.

Making the SQL of a queryset takes Django several times as long as PostgreSQL needs to answer it. Rows come and go as
model instances all the same.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from typing import Any, Generic, ParamSpec, TypeVar

from django.db import connection
from django.db.models import Expression, Field, Lookup, Model, QuerySet
from django.db.models.expressions import DatabaseDefault
from django.db.models.query import (  # type: ignore[attr-defined]
    FlatValuesListIterable,
    ModelIterable,
    get_related_populators,
)

P = ParamSpec("P")
R = TypeVar("R")


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


def compiled(build: Callable[P, QuerySet[Any, R]]) -> Callable[P, list[R]]:
    """Of a function that makes a queryset of its arguments, one that gives its rows.

    The function is called once, with a ``Slot`` for each argument, which it may only compare to fields. Values are
    sent as they are given.
    """
    statement = _Statement(build)

    def run(*args: P.args, **more: P.kwargs) -> list[R]:
        return statement.rows(statement.signature.bind(*args, **more).arguments)

    return run


class _Statement(Generic[R]):
    def __init__(self, build: Callable[..., QuerySet[Any, R]]) -> None:
        self.signature = inspect.signature(build)
        self._build = build

    @cached_property
    def _compiler(self) -> tuple[QuerySet[Any, R], Any, str, Sequence[Any]]:
        queryset = self._build(**{name: Slot(name) for name in self.signature.parameters})
        compiler = queryset.query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        return queryset, compiler, sql, params

    def rows(self, given: dict[str, Any]) -> list[R]:
        _, compiler, sql, params = self._compiler
        with connection.cursor() as cursor:
            cursor.execute(sql, [given[one.name] if isinstance(one, Slot) else one for one in params])
            found: Iterable[Any] = cursor.fetchall()
        if self._converters:
            found = compiler.apply_converters(found, self._converters)
        return [self._shape(row) for row in found]

    @cached_property
    def _converters(self) -> dict[int, Any]:
        _, compiler, *_ = self._compiler
        found: dict[int, Any] = compiler.get_converters([column for column, *_ in compiler.select])
        return found

    @cached_property
    def _shape(self) -> Callable[[Any], Any]:
        """What becomes of a row, as it does in the queryset's own iterator."""
        queryset, compiler, *_ = self._compiler
        form = queryset._iterable_class
        if form is ModelIterable:
            return _instances(compiler)
        return (lambda row: row[0]) if form is FlatValuesListIterable else tuple


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
    """Insert rows of one model by one statement; they know their ids afterwards, and no other default."""
    if not rows:
        return
    model = type(rows[0])
    places, values = [], []
    for row in rows:
        given = [_sent(field, row) for field in _inserted(model)]
        places.append(f"({', '.join(['DEFAULT' if one is _DEFAULT else '%s' for one in given])})")
        values += [one for one in given if one is not _DEFAULT]
    with connection.cursor() as cursor:
        cursor.execute(f"{_insertion(model)} {', '.join(places)} RETURNING {_quoted_key(model)}", values)
        for row, (key,) in zip(rows, cursor.fetchall(), strict=True):
            row.pk = key


def save_fields(row: Model, *names: str) -> None:
    """Write these fields of a row that exists; nothing else happens, and ``auto_now`` is honoured if it is named."""
    values = [_sent(field, row, add=False) for field in _named(type(row), names)]
    with connection.cursor() as cursor:
        cursor.execute(_update(type(row), names), [*values, row.pk])


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


@cache
def _insertion(model: type[Model]) -> str:
    columns = ", ".join(_quoted(field.column) for field in _inserted(model))
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES"


@cache
def _update(model: type[Model], names: tuple[str, ...]) -> str:
    changes = ", ".join(f"{_quoted(field.column)} = %s" for field in _named(model, names))
    return f"UPDATE {_quoted(model._meta.db_table)} SET {changes} WHERE {_quoted_key(model)} = %s"  # noqa: S608


def _quoted_key(model: type[Model]) -> str:
    return _quoted(model._meta.pk.column)


def _quoted(name: str | None) -> str:
    return connection.ops.quote_name(name or "")
