"""sendMessage over the wire, beside what the database of this machine can do at most."""

from statistics import mean

from django.conf import settings

from bench.asking import send
from bench.comparing import beside_pgbench, in_turns, measured, named, speeds
from bench.envelopes import fan_out_lags, lone_send_lags
from bench.ledger import entries_of, require_sound
from bench.load import Outcome, Plan, Request, load
from bench.planting import FIRST_ENTRIES, Crowd, ciphertext, plant
from bench.postgres import slow_disk
from bench.rows import Figure, percentile, row
from bench.stack import Stack, database, stack

CALLERS, MANY_CALLERS = 16, 64
LOAD_SECONDS, TURN_SECONDS = 8.0, 4.0
MESSAGE_BYTES = 512
HOT_SHARE, MANY_SHARE = 1.5, 0.5
COMMITS_A_SEND, WAL_BYTES_A_SEND = 0.2, 2000.0
HOT_P99_MS, OFFERED_P99_MS = 60.0, 50.0
OFFERED_A_SECOND, OFFERED_SECONDS = 100.0, 15.0
FAN_OUT_P99_MS = 250.0
THOUSAND_A_SECOND, LONE_SEND_P95_MS = 1800.0, 40.0
LARGE_CONVO_TIMES, LARGE_CONVO_ENVELOPES_MS = 2.0, 1000.0
SLOW_DISK_SHARE = 0.9
SIZES = (512, 8 * 1024, 64 * 1024, 512 * 1024)


def planted(*, convos: int = 1, members: int = 2) -> Crowd:
    with database(settings.CATBIRD_DATA) as held:
        return plant(held, convos=convos, members=members)


def senders(crowd: Crowd, callers: int, *, size: int = MESSAGE_BYTES) -> list[list[Request]]:
    """As many callers. They share the convos among them, or its members when there is one convo."""
    if len(crowd.ids) == 1:
        body = ciphertext(crowd.ids[0], size=size)
        return [[send(crowd.did(0, number % crowd.members), crowd.ids[0], body)] for number in range(callers)]
    requests = [send(crowd.did(number), one, ciphertext(one, size=size)) for number, one in enumerate(crowd.ids)]
    return [requests[number::callers] for number in range(callers)]


def require_all_kept(running: Stack, crowd: Crowd, sent: int) -> None:
    require_sound(running.data, crowd.ids, entries=len(crowd.ids) * FIRST_ENTRIES + sent)


@row("send-hot")
def send_hot() -> list[Figure]:
    """sendMessage into one convo of 10 members by 16 callers, two web processes"""
    figures = []
    for batched, name in ((True, "batches"), (False, "one by one")):
        with stack(ENABLE_ACTOR_SYSTEM=batched) as running:
            figures += named(name, hot(running, promised=batched))
    return figures


def hot(running: Stack, *, promised: bool) -> list[Figure]:
    crowd = planted(members=10)
    plan = Plan(running.port, senders(crowd, CALLERS), LOAD_SECONDS)
    outcome, cost, limit = beside_pgbench(running, plan, counters=1)
    require_all_kept(running, crowd, outcome.answered)
    least, commits, wal_bytes = (HOT_SHARE, COMMITS_A_SEND, WAL_BYTES_A_SEND) if promised else (None, None, None)
    return [
        Figure("ratio to pgbench on one row", outcome.a_second / limit, "", at_least=least),
        Figure("pgbench on one row", limit, "/s"),
        *speeds(outcome),
        Figure("database commits a send", cost.commits / outcome.answered, "", at_most=commits),
        Figure("write-ahead log a send", cost.wal_bytes / outcome.answered, "bytes", at_most=wal_bytes),
        *cost.figures(outcome),
    ]


@row("send-hot-64")
def send_hot_64() -> list[Figure]:
    """sendMessage into one convo of 10 members by 64 callers"""
    with stack() as running:
        crowd = planted(members=10)
        outcome, cost = measured(running, Plan(running.port, senders(crowd, MANY_CALLERS), LOAD_SECONDS))
        require_all_kept(running, crowd, outcome.answered)
    commits = Figure("database commits a send", cost.commits / outcome.answered, "")
    return [*speeds(outcome, p99_at_most=HOT_P99_MS), commits, *cost.figures(outcome)]


@row("send-many")
def send_many() -> list[Figure]:
    """sendMessage into 1000 convos of 5 members by 64 callers, two web processes"""
    with stack() as running:
        crowd = planted(convos=1000, members=5)
        plan = Plan(running.port, senders(crowd, MANY_CALLERS), LOAD_SECONDS, warm_seconds=3.0)
        outcome, cost, limit = beside_pgbench(running, plan, counters=1000)
        require_all_kept(running, crowd, outcome.answered)
    return [
        Figure("ratio to pgbench on 1000 rows", outcome.a_second / limit, "", at_least=MANY_SHARE),
        Figure("pgbench on 1000 rows", limit, "/s"),
        *speeds(outcome),
        Figure("database commits a send", cost.commits / outcome.answered, ""),
        Figure("write-ahead log a send", cost.wal_bytes / outcome.answered, "bytes"),
        Figure("until all is carried out", cost.settle_seconds, "s"),
        *cost.figures(outcome),
    ]


@row("send-offered")
def send_offered() -> list[Figure]:
    """100 messages a second offered to 1000 convos: the answer, and the envelope after it"""
    with stack() as running:
        crowd = planted(convos=1000, members=5)
        plan = Plan(running.port, senders(crowd, 32), OFFERED_SECONDS, warm_seconds=3.0, rate=OFFERED_A_SECOND)
        lags = fan_out_lags(running)
        outcome, cost = measured(running, plan)
        lags = fan_out_lags(running) - lags
        require_all_kept(running, crowd, outcome.answered)
    return [
        *speeds(outcome, p99_at_most=OFFERED_P99_MS),
        Figure("accepted to envelope, median", lags.percentile(0.5), "ms"),
        Figure("accepted to envelope, p99", lags.percentile(0.99), "ms", at_most=FAN_OUT_P99_MS),
        Figure("database commits a send", cost.commits / outcome.answered, ""),
        *cost.figures(outcome),
    ]


@row("send-1000-members")
def send_1000_members() -> list[Figure]:
    """sendMessage into one convo of 1000 members by 16 callers, and how soon a lone one is in all envelopes"""
    with stack() as running:
        crowd = planted(members=1000)
        first_lag, *lags = lone_send_lags(running, crowd, senders(crowd, 1)[0][0])
        outcome, cost = measured(running, Plan(running.port, senders(crowd, CALLERS), LOAD_SECONDS))
        require_all_kept(running, crowd, 1 + len(lags) + outcome.answered)
    first, *others = speeds(outcome)
    return [
        Figure(first.what, first.value, first.unit, at_least=THOUSAND_A_SECOND),
        *others,
        Figure("lone send, accepted to all envelopes, median", percentile(lags, 0.5), "ms"),
        Figure("lone send, accepted to all envelopes, p95", percentile(lags, 0.95), "ms", at_most=LONE_SEND_P95_MS),
        Figure("the first message, which makes the envelopes", first_lag, "ms"),
        *cost.figures(outcome),
    ]


@row("send-2000-devices")
def send_2000_devices() -> list[Figure]:
    """sendMessage into convos of 2, 100 and 2000 devices by 16 callers, in turns"""
    with stack() as running:
        crowds = {size: planted(members=size) for size in (2, 100, 2000)}
        first_lag, *lags = lone_send_lags(running, crowds[2000], senders(crowds[2000], 1)[0][0])
        plans = {size: Plan(running.port, senders(crowd, CALLERS), TURN_SECONDS) for size, crowd in crowds.items()}
        outcomes = in_turns(plans)
        for size, crowd in crowds.items():
            require_all_kept(running, crowd, outcomes[size].answered + (1 + len(lags) if size == 2000 else 0))
    delays = {size: mean(outcome.delays) for size, outcome in outcomes.items()}
    return [
        Figure(
            "2000 devices: time of a send, times that of 2", delays[2000] / delays[2], "", at_most=LARGE_CONVO_TIMES
        ),
        Figure("2000 devices: accepted to all envelopes, most", max(lags), "ms", at_most=LARGE_CONVO_ENVELOPES_MS),
        Figure("2000 devices: the first message, which makes the envelopes", first_lag, "ms"),
        *(one for size, outcome in outcomes.items() for one in named(f"{size} devices", speeds(outcome))),
    ]


@row("send-slow-disk")
def send_slow_disk() -> list[Figure]:
    """sendMessage into one convo by 64 callers, on this disk and on one that takes 2 ms longer to flush, in turns"""
    outcomes: dict[str, list[Outcome]] = {"fast": [], "slow": []}
    with stack() as running:
        crowd = planted(members=10)
        plan = Plan(running.port, senders(crowd, MANY_CALLERS), TURN_SECONDS)
        for _ in range(3):
            outcomes["fast"].append(load(plan.again()))
            with slow_disk(running.data):
                outcomes["slow"].append(load(plan.again()))
        sent = sum(one.answered for turns in outcomes.values() for one in turns)
        require_all_kept(running, crowd, sent)
    fast, slow = (mean(one.a_second for one in turns) for turns in outcomes.values())
    return [
        Figure("slow disk, share of the fast one", slow / fast, "", at_least=SLOW_DISK_SHARE),
        Figure("fast disk", fast, "/s"),
        Figure("slow disk", slow, "/s"),
    ]


@row("send-sizes")
def send_sizes() -> list[Figure]:
    """sendMessage into one convo by 16 callers, by the size of the message, in turns"""
    with stack() as running:
        crowds = {size: planted() for size in SIZES}
        callers = {size: senders(crowd, CALLERS, size=size) for size, crowd in crowds.items()}
        outcomes = in_turns({size: Plan(running.port, callers[size], TURN_SECONDS) for size in SIZES})
        for size, crowd in crowds.items():
            assert entries_of(running.data, crowd.ids) == FIRST_ENTRIES + outcomes[size].answered
            require_all_kept(running, crowd, outcomes[size].answered)
    return [one for size in SIZES for one in named(f"{size} bytes", speeds(outcomes[size]))]
