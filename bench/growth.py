"""How the calls made most get dearer with what the database holds."""

import os
import time
from pathlib import Path

from bench.asking import question, send
from bench.comparing import in_turns
from bench.ledger import require_sound
from bench.load import Outcome, Plan
from bench.planting import FIRST_ENTRIES, Crowd, ciphertext, plant
from bench.rows import Figure, percentile, row
from bench.stack import Stack, database, own_folder, stack

ENTRIES = int(os.environ.get("BENCH_GROWTH_ENTRIES", "1000000"))
CALLERS, TURN_SECONDS = 16, 2.0
# What is called for is the same at every size: an account in ten convos with a hundred entries each.
PROBES, PROBE_MEMBERS, PROBE_ENTRIES = 10, 5, 100
# Convos beside the probes, the entries in each, and what both come to.
STEPS = {"10 convos": (0, 0), "1,000 convos": (990, 10), "100,000 convos": (99_000, 1)}
LOGS = 100
TIMES_AT_MOST = 1.5


@row("growth", needs_servers=False)
def growth() -> list[Figure]:
    """sendMessage, getMessages and getConvos by 16 callers beside 10, 1000, 100,000 convos and BENCH_GROWTH_ENTRIES"""
    steps = STEPS | {f"and {ENTRIES:,} entries": (LOGS, ENTRIES // LOGS)}
    found: dict[str, dict[str, Outcome]] = {}
    with own_folder() as folder, stack(folder) as running, database(folder) as held:
        probes = plant(held, convos=PROBES, members=PROBE_MEMBERS, entries=PROBE_ENTRIES, shared=True)
        sent = 0
        for step, (convos, entries) in steps.items():
            began = time.perf_counter()
            if convos:
                plant(held, convos=convos, entries=entries)
                settle(folder)
            writing = time.perf_counter() - began
            found[step] = probed(running, probes)
            sent += found[step]["sendMessage"].answered
            require_sound(folder, probes.ids, entries=PROBES * PROBE_ENTRIES + sent)
    return [*figures(found), Figure(f"{ENTRIES:,} entries written by SQL", writing, "s")]


def settle(folder: Path) -> None:
    """As tables are some time after they were written: otherwise what is measured is the vacuum that follows."""
    with database(folder, as_superuser=True) as held:
        held.execute("VACUUM (ANALYZE)")
        held.execute("CHECKPOINT")


def probed(running: Stack, probes: Crowd) -> dict[str, Outcome]:
    did, since = probes.did(), FIRST_ENTRIES + 50
    sends = [send(did, one, ciphertext(one, size=512)) for one in probes.ids]
    asked = {
        "sendMessage": sends,
        "getMessages": [question("getMessages", did, convoId=one, sinceSeq=since, limit=50) for one in probes.ids],
        "getConvos": [question("getConvos", did)],
    }
    return in_turns({method: Plan(running.port, [calls] * CALLERS, TURN_SECONDS) for method, calls in asked.items()})


def figures(found: dict[str, dict[str, Outcome]]) -> list[Figure]:
    """Medians, because a share of what a busy machine does is nobody's growth."""
    first, *_, last = found
    medians = {
        (step, method): percentile(outcome.delays, 0.5)
        for step, loads in found.items()
        for method, outcome in loads.items()
    }
    growths = [
        Figure(f"{method}: median, {last}, times that of {first}", medians[last, method] / medians[first, method], "",
               at_most=TIMES_AT_MOST)
        for method in found[first]
    ]  # fmt: skip
    return [*growths, *(Figure(f"{method}: median, {step}", value, "ms") for (step, method), value in medians.items())]
