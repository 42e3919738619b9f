"""What a run has cost, and whether what it left behind is what was promised."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import Outcome
from bench.rows import Figure
from bench.stack import Stack, cpu_seconds, database, eventually, postgres_pids

# Connections tell their counts when they have been idle for so long.
COUNTS_SECONDS = 2.0
COUNTS = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       pg_current_wal_lsn() - '0/0'::pg_lsn
"""
NOT_DENSE = """
SELECT c.id, c.last_seq, count(m.seq), min(m.seq), max(m.seq)
  FROM conversations_convo c LEFT JOIN conversations_message m ON m.convo_id = c.id
 WHERE c.id = ANY(%s)
 GROUP BY c.id HAVING (count(m.seq), min(m.seq), max(m.seq)) IS DISTINCT FROM (c.last_seq, 1, c.last_seq)
"""
NOT_ONE_COMMIT = """
SELECT convo_id, epoch, count(*) FROM conversations_message
 WHERE convo_id = ANY(%s) AND kind = 'commit' GROUP BY 1, 2 HAVING count(*) > 1
"""
NOT_ALL_COMMITS = """
SELECT c.id, c.epoch, count(m.seq)
  FROM conversations_convo c LEFT JOIN conversations_message m ON m.convo_id = c.id AND m.kind = 'commit'
 WHERE c.id = ANY(%s) GROUP BY c.id HAVING count(m.seq) <> c.epoch
"""
NOT_CARRIED = """
SELECT b.convo_id, b.did FROM delivery_mailbox b JOIN conversations_convo c ON c.id = b.convo_id
  LEFT JOIN delivery_envelope e ON (e.convo_id, e.did, e.device_id) = (b.convo_id, b.did, b.device_id)
 WHERE c.id = ANY(%s) AND b.closed_at IS NULL AND c.last_seq >= b.first_seq AND e.last_seq IS DISTINCT FROM c.last_seq
"""


def settle(data: Path) -> float:
    """Wait until every entry is carried to its readers; the seconds that it takes."""
    began = time.perf_counter()
    with database(data) as held:
        waiting = "SELECT NOT EXISTS (SELECT 1 FROM delivery_dispatch)"
        eventually(lambda: bool(held.execute(waiting).fetchone() == (True,)), "dispatches wait")
    return time.perf_counter() - began


def require_sound(data: Path, convo_ids: Sequence[str], *, entries: int) -> None:
    """The logs are dense and hold so many entries, one commit began each epoch, and every reader has its envelope."""
    settle(data)
    with database(data) as held:
        for what in (NOT_DENSE, NOT_ONE_COMMIT, NOT_ALL_COMMITS, NOT_CARRIED):
            wrong = held.execute(what, [list(convo_ids)]).fetchmany(3)
            assert not wrong, (what, wrong)
        counted = "SELECT coalesce(sum(last_seq), 0) FROM conversations_convo WHERE id = ANY(%s)"
        found = held.execute(counted, [list(convo_ids)]).fetchone()
    assert found == (entries,), f"{found} entries instead of {entries}"


def entries_of(data: Path, convo_ids: Sequence[str]) -> int:
    counted = "SELECT count(*) FROM conversations_message WHERE convo_id = ANY(%s)"
    with database(data) as held:
        found = held.execute(counted, [list(convo_ids)]).fetchone()
    return int(found[0]) if found else 0


@dataclass
class Cost:
    """What a load took of the machine, its fan-out included."""

    commits: float = 0.0
    wal_bytes: float = 0.0
    web_seconds: float = 0.0
    worker_seconds: float = 0.0
    postgres_seconds: float = 0.0
    settle_seconds: float = 0.0

    def figures(self, outcome: Outcome) -> list[Figure]:
        """Who was busy for how long with each call; what the callers take is lost to the server."""
        shares = {
            "web": self.web_seconds,
            "PostgreSQL": self.postgres_seconds,
            "worker": self.worker_seconds,
            "callers": outcome.cpu_seconds,
        }
        calls = outcome.answered
        return [Figure(f"processor time a call, {who}", 1e6 * spent / calls, "us") for who, spent in shares.items()]


@contextmanager
def costing(running: Stack) -> Iterator[Cost]:
    """Filled in at the end of the block, when everything is carried out."""
    cost = Cost()
    before = _reading(running)
    yield cost
    cost.settle_seconds = settle(running.data)
    time.sleep(COUNTS_SECONDS)
    after = _reading(running)
    cost.commits, cost.wal_bytes, cost.web_seconds, cost.worker_seconds, cost.postgres_seconds = (
        late - early for early, late in zip(before, after, strict=True)
    )


def _reading(running: Stack) -> tuple[float, ...]:
    with database(running.data) as held:
        commits, wal_bytes = held.execute(COUNTS).fetchone() or (0, 0)
    web = cpu_seconds(running.pids("uvicorn"))
    worker = cpu_seconds(running.pids("celery"))
    return float(commits), float(wal_bytes), web, worker, cpu_seconds(postgres_pids(running.data))
