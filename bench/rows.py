"""What can be measured: a row has a name, says what it does, and returns its figures."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One number, and what docs/performance.md promises of it, if anything."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def promise(self) -> str:
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return ", ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)

    @property
    def kept(self) -> bool:
        """True of a figure of which nothing is promised, too."""
        floor = -math.inf if self.at_least is None else self.at_least
        ceiling = math.inf if self.at_most is None else self.at_most
        return floor <= self.value <= ceiling


Measure = Callable[[], list[Figure]]


@dataclass(frozen=True)
class Row:
    name: str
    about: str
    measure: Measure
    needs_servers: bool


ROWS: dict[str, Row] = {}


def row(name: str, *, needs_servers: bool = True) -> Callable[[Measure], Measure]:
    """Registers a function under a name; its docstring says what it measures."""

    def register(measure: Measure) -> Measure:
        ROWS[name] = Row(name, (measure.__doc__ or "").strip(), measure, needs_servers)
        return measure

    return register


def cpu_ms(work: Callable[[], object], *, times: int) -> float:
    """The processor time that it takes, of all threads of this process; the median of so many times."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000


def wall_ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def timed(works: Sequence[Callable[[], object]]) -> tuple[list[Callable[[], object]], list[float]]:
    """The same works, which note how many milliseconds they took when they are done."""
    taken: list[float] = []

    def noting(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            began = time.perf_counter()
            result = work()
            taken.append((time.perf_counter() - began) * 1000)
            return result

        return run

    return [noting(work) for work in works], taken


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
