"""Real threads on the real database, let go at the same instant."""

from collections.abc import Callable, Sequence
from threading import Barrier, Thread
from typing import TypeVar

from django.db import connection

T = TypeVar("T")
PATIENCE_SECONDS = 120


class Refused(Exception):
    """By which error of the wire."""


def at_once(works: Sequence[Callable[[], T]], *, patience: float = PATIENCE_SECONDS) -> list[T | Exception]:
    """Do all of it at the same time; the result of each, or what it raised."""
    barrier = Barrier(len(works))
    results: list[T | Exception | None] = [None] * len(works)

    def run(place: int) -> None:
        try:
            barrier.wait()
            results[place] = works[place]()
        except Exception as error:  # noqa: BLE001 - a thread hands its failure to the test
            results[place] = error
        finally:
            connection.close()

    threads = [Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
    assert not any(thread.is_alive() for thread in threads), "a thread is stuck"
    return [result for result in results if result is not None]


def succeeded(results: Sequence[T | Exception]) -> list[T]:
    return [result for result in results if not isinstance(result, Exception)]


def failures(results: Sequence[T | Exception]) -> list[str]:
    """The names of the refusals; anything that is not a refusal of ours is told whole."""
    return sorted(_name(result) for result in results if isinstance(result, Exception))


def _name(failure: Exception) -> str:
    if isinstance(failure, Refused):
        return str(failure)
    return type(failure).__name__ if hasattr(failure, "body") else repr(failure)
