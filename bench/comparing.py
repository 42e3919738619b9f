"""Loads beside each other in the same minute, because a machine is not the same from one to the next."""

from collections.abc import Mapping
from statistics import mean, median
from typing import TypeVar

from bench.ledger import Cost, costing
from bench.load import Outcome, Plan, load
from bench.postgres import pgbench
from bench.rows import Figure, percentile
from bench.stack import Stack

LIMIT_SECONDS, ROUNDS = 4, 2
K = TypeVar("K")


def measured(running: Stack, plan: Plan) -> tuple[Outcome, Cost]:
    with costing(running) as cost:
        outcome = load(plan)
    return outcome, cost


def beside_pgbench(running: Stack, plan: Plan, *, counters: int) -> tuple[Outcome, Cost, float]:
    """The load between two runs of pgbench, whose mean is the limit that it is compared to."""
    before = pgbench(running.data, counters=counters, seconds=LIMIT_SECONDS)
    outcome, cost = measured(running, plan)
    after = pgbench(running.data, counters=counters, seconds=LIMIT_SECONDS)
    return outcome, cost, mean([before, after])


def in_turns(plans: Mapping[K, Plan]) -> dict[K, Outcome]:
    """Each plan several times, always after the others."""
    outcomes: dict[K, list[Outcome]] = {key: [] for key in plans}
    for _ in range(ROUNDS):
        for key, plan in plans.items():
            outcomes[key].append(load(plan.again()))
    return {key: Outcome.of(parts) for key, parts in outcomes.items()}


def speeds(outcome: Outcome, *, p99_at_most: float | None = None, least: float | None = None) -> list[Figure]:
    return [
        Figure("calls a second", outcome.a_second, "/s", at_least=least),
        Figure("each, median", median(outcome.delays), "ms"),
        Figure("each, p99", percentile(outcome.delays, 0.99), "ms", at_most=p99_at_most),
    ]


def named(prefix: str, figures: list[Figure]) -> list[Figure]:
    return [Figure(f"{prefix}: {one.what}", one.value, one.unit, one.at_most, one.at_least) for one in figures]
