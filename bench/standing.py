"""What the stack costs while it stands, and whether it stays the same for as long as it is used."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle, islice
from statistics import mean

from django.conf import settings

from bench.asking import question, send
from bench.comparing import speeds
from bench.ledger import entries_of, require_sound
from bench.load import Plan, Request, load
from bench.planting import Crowd, ciphertext, plant
from bench.rows import Figure, row
from bench.stack import Stack, database, memory_mb, own_folder, stack

IDLE_MB, WARM_START_SECONDS = 600.0, 5.0
KINDS = {"web": "uvicorn", "worker": "worker", "beat": "beat", "PostgreSQL": "postgres", "Valkey": "valkey"}
SOAK_SECONDS = float(os.environ.get("BENCH_SOAK_SECONDS", "600"))
SOAK_A_SECOND, SOAK_CONVOS, SOAK_CALLERS = 100.0, 100, 16
SAMPLES = 60
GROWTH_SHARE = 0.05


@row("standing", needs_servers=False)
def standing() -> list[Figure]:
    """the whole stack with two web processes on a data folder of its own: started twice, then left alone"""
    with own_folder() as folder:
        with stack(folder) as running:
            cold = running.ready_seconds
        with stack(folder) as running:
            warm, whole = running.ready_seconds, memory_mb([running.process.pid, *running.pids()])
            parts = {kind: memory_mb(running.pids(word)) for kind, word in KINDS.items()}
    return [
        Figure("idle memory of all processes, shared pages once", whole, "MB", at_most=IDLE_MB),
        *(Figure(f"of it {kind}", part, "MB") for kind, part in parts.items()),
        Figure("first start to ready, database made", cold, "s"),
        Figure("warm start to ready", warm, "s", at_most=WARM_START_SECONDS),
    ]


@row("soak")
def soak() -> list[Figure]:
    """100 calls a second for BENCH_SOAK_SECONDS (600), half of them messages: none fails, and memory stays"""
    with database(settings.CATBIRD_DATA) as held:
        crowd = plant(held, convos=SOAK_CONVOS, members=5)
    with stack() as running:
        calls = list(chain.from_iterable(calls_on(crowd, number) for number in range(SOAK_CONVOS)))
        callers = [list(islice(cycle(calls), number * 7, number * 7 + len(calls))) for number in range(SOAK_CALLERS)]
        plan = Plan(running.port, callers, SOAK_SECONDS, warm_seconds=5.0, rate=SOAK_A_SECOND)
        with ThreadPoolExecutor(1) as beside:
            loading = beside.submit(load, plan)
            samples = list(memory_until(loading.done, running))
        outcome = loading.result()
        require_sound(running.data, crowd.ids, entries=entries_of(running.data, crowd.ids))
    third = len(samples) // 3
    early, late = mean(samples[third : 2 * third]), mean(samples[-third:])
    return [
        *speeds(outcome),
        Figure("calls answered, all with 200", outcome.answered, ""),
        Figure("memory of our processes in the second third", early, "MB"),
        Figure("memory in the last third, times that", late / early, "", at_most=1 + GROWTH_SHARE),
    ]


def calls_on(crowd: Crowd, number: int) -> list[Request]:
    """What a device does: it says something, looks at what is new, and now and then at everything."""
    did, convo_id = crowd.did(number), crowd.ids[number]
    say = send(did, convo_id, ciphertext(convo_id, size=512))
    look = question("getMessages", did, convoId=convo_id, limit=20)
    return [say, look, say, question("getEpoch", did, convoId=convo_id), say, look, say, question("getConvos", did)]


def memory_until(done: Callable[[], bool], running: Stack) -> Iterator[float]:
    """Of the web processes, the worker and beat."""
    while not done():
        yield memory_mb(running.pids("uvicorn", "celery"))
        time.sleep(SOAK_SECONDS / SAMPLES)
