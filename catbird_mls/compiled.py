"""The ORM of hot paths: its statements are made once, and only the values change.

Making the SQL of a queryset takes Django several times as long as PostgreSQL needs to answer it. Rows come as model
instances all the same.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar

from django.db import connection
from django.db.models import Expression, Field, Lookup, Model, QuerySet
from django.db.models.query import (  # type: ignore[attr-defined]
    FlatValuesListIterable,
    ModelIterable,
    get_related_populators,
)

from catbird_mls.trips import Asked, Rows, answer_to

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
        return [self._shape(row) for row in answer_to(asked)]

    def of(self, *args: P.args, **more: P.kwargs) -> Asked:
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
