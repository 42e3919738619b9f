"""Where work becomes lasting: a commit, or a statement that writes outside of any transaction."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec
from django.db import connection, connections

Passing = Callable[[], AbstractContextManager[None]]
# By which the test knows that the session of a dead run is over, and its locks are gone.
APPLICATION = "dying task"


class Run(msgspec.Struct):
    """Which task, and before or after which of its places it dies; what is said to the bus is a place, too."""

    task: str
    args: list[str]
    place: int
    side: str
    readings: str


@contextmanager
def watched(passing: Passing) -> Iterator[None]:
    """Within the block ``passing`` is entered around every such place of this thread."""
    held = connections["default"]
    commit = held._commit

    def committing() -> None:
        with passing():
            commit()

    def executing(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if held.in_atomic_block or sql.lstrip().upper().startswith("SELECT"):
            return execute(sql, params, many, context)
        with passing():
            return execute(sql, params, many, context)

    held._commit = committing
    try:
        with connection.execute_wrapper(executing):
            yield
    finally:
        del held._commit
