"""Reads over the wire: getEpoch, getMessages, getConvos."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from django.conf import settings

from bench.asking import question
from bench.comparing import in_turns, measured, named, speeds
from bench.load import Plan, Request
from bench.planting import FIRST_ENTRIES, Crowd, plant
from bench.rows import Figure, row
from bench.stack import LOGGING, ROOT, UNLIMITED, WEB_PROCESSES, database, eventually, free_port, is_open, stack

CALLERS = 32
LOAD_SECONDS, TURN_SECONDS = 8.0, 4.0
EPOCH_TIMES, EPOCHS_A_SECOND = 10.0, 5000.0
PAGE_ENTRIES = 50
LONG_LOG, SHORT_LOG = 50_000, 50
TAIL_SHARE, PAGES_A_SECOND = 0.9, 1300.0
CONVOS, CONVO_MEMBERS, FEW_CONVOS, LISTS_A_SECOND = 50, 10, 5, 500.0


def crowd_of(*, convos: int = 1, members: int = 2, entries: int = 1, shared: bool = False) -> Crowd:
    with database(settings.CATBIRD_DATA) as held:
        return plant(held, convos=convos, members=members, entries=entries, shared=shared)


def everybody(request: Request) -> list[list[Request]]:
    return [[request]] * CALLERS


@contextmanager
def plain_django() -> Iterator[int]:
    """The port of as many processes that answer every call as Django does by itself: its handler, then the DRF view."""
    port = free_port()
    argv = ["uvicorn", "--factory", "django.core.asgi:get_asgi_application", "--port", str(port), "--no-access-log"]
    argv += ["--workers", str(WEB_PROCESSES), "--log-level", "error"]
    environment = os.environ | LOGGING | UNLIMITED | {"JWT_SECRET": settings.JWT_SECRET}
    process = subprocess.Popen([sys.executable, "-m", *argv], cwd=ROOT, env=environment)  # noqa: S603 - ours
    try:
        eventually(lambda: is_open(port), "plain Django answers")
        yield port
    finally:
        process.terminate()
        process.wait()


@row("get-epoch")
def get_epoch() -> list[Figure]:
    """getEpoch by 32 callers, and the same view through Django's handler and DRF, in turns"""
    crowd = crowd_of(members=CALLERS)
    callers = [[question("getEpoch", crowd.did(0, number), convoId=crowd.ids[0])] for number in range(CALLERS)]
    with stack() as running, plain_django() as port:
        ours, plain = Plan(running.port, callers, TURN_SECONDS), Plan(port, callers, TURN_SECONDS)
        outcomes = in_turns({"ours": ours, "plain": plain})
        outcome, cost = measured(running, ours)
    times = outcomes["ours"].a_second / outcomes["plain"].a_second
    return [
        Figure("times plain Django and DRF", times, "", at_least=EPOCH_TIMES),
        *speeds(outcomes["ours"], least=EPOCHS_A_SECOND),
        *named("plain Django and DRF", speeds(outcomes["plain"])),
        *cost.figures(outcome),
    ]


@row("get-messages")
def get_messages() -> list[Figure]:
    """getMessages by 32 callers: the last 50 entries of a log of 50,000 and of one of 50, in turns"""
    with stack() as running:
        plans = {}
        for entries in (LONG_LOG, SHORT_LOG):
            # The commit that begins a log is not for those who came by it.
            crowd = crowd_of(entries=FIRST_ENTRIES + entries)
            since = FIRST_ENTRIES + entries - PAGE_ENTRIES
            tail = {"convoId": crowd.ids[0], "sinceSeq": since, "limit": PAGE_ENTRIES}
            plans[entries] = Plan(running.port, everybody(question("getMessages", crowd.did(), **tail)), TURN_SECONDS)
        outcomes = in_turns(plans)
        outcome, cost = measured(running, plans[LONG_LOG])
    long, short = outcomes[LONG_LOG], outcomes[SHORT_LOG]
    return [
        Figure("long log, share of the short one", long.a_second / short.a_second, "", at_least=TAIL_SHARE),
        *speeds(long, least=PAGES_A_SECOND),
        *named("short log", speeds(short)),
        Figure("an answer, long log", long.answer_bytes / 1000, "kB"),
        Figure("database commits a call", cost.commits / outcome.answered, ""),
        *cost.figures(outcome),
    ]


@row("get-convos")
def get_convos() -> list[Figure]:
    """getConvos by 32 callers: 50 convos of 10 members each, and 5 of them"""
    with stack() as running:
        many, few = (crowd_of(convos=number, members=CONVO_MEMBERS, shared=True) for number in (CONVOS, FEW_CONVOS))
        plan = Plan(running.port, everybody(question("getConvos", many.did())), LOAD_SECONDS)
        outcome, cost = measured(running, plan)
        fewer, fewer_cost = measured(running, replace(plan, callers=everybody(question("getConvos", few.did()))))
    statements, fewer_statements = cost.commits / outcome.answered, fewer_cost.commits / fewer.answered
    return [
        *speeds(outcome, least=LISTS_A_SECOND),
        Figure("an answer", outcome.answer_bytes / 1000, "kB"),
        Figure("statements, times those of 5 convos", statements / fewer_statements, "", at_most=1.1),
        Figure("statements, each a transaction", statements, ""),
        *named("5 convos", speeds(fewer)),
        *cost.figures(outcome),
    ]
