"""This machine's own limit: ``pgbench`` with the smallest transaction that could do the job.

The job is one step of a counter and one row of a log; the transaction is one prepared statement, so that nothing but
the row, the lock and the disk counts.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from bench.stack import database
from catbird_mls import embedded
from catbird_mls.cluster import account_of, postgres_bin

CLIENTS, BODY_BYTES = 16, 512
TABLES = """
CREATE TABLE IF NOT EXISTS bench_counter (id integer PRIMARY KEY, last bigint NOT NULL);
CREATE TABLE IF NOT EXISTS bench_log (id integer, seq bigint, body bytea NOT NULL, PRIMARY KEY (id, seq));
TRUNCATE bench_counter, bench_log;
"""
COUNTERS = "INSERT INTO bench_counter SELECT n, 0 FROM generate_series(1, %s) n"
STEP = r"""
\set id random(1, :counters)
WITH step AS (UPDATE bench_counter SET last = last + 1 WHERE id = :id RETURNING last)
INSERT INTO bench_log SELECT :id, last, :body FROM step;
"""


def pgbench(data: Path, *, counters: int, seconds: int) -> float:
    """Transactions a second of 16 clients on so many counters."""
    with database(data) as held:
        held.execute(TABLES)
        held.execute(COUNTERS, [counters])
        held.execute("ANALYZE bench_counter")
    where = embedded.home(data)
    program = postgres_bin(where, account_of("nobody")) / "pgbench"
    url = urlsplit(embedded.addresses(data).database_url)
    with TemporaryDirectory() as folder:
        script = Path(folder) / "step.sql"
        script.write_text(STEP)
        argv = [str(program), "-n", "-M", "prepared", "-c", str(CLIENTS), "-T", str(seconds)]
        argv += ["-D", f"counters={counters}", "-D", f"body={'x' * BODY_BYTES}"]
        argv += ["-f", str(script), "-h", "127.0.0.1", "-p", str(url.port)]
        argv += ["-U", str(url.username), url.path.lstrip("/")]
        environment = os.environ | {"PGPASSWORD": str(url.password)}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return float(found[1])


@contextmanager
def slow_disk(data: Path) -> Iterator[None]:
    """Every flush takes two milliseconds longer, for all connections."""
    with database(data, as_superuser=True) as held:
        held.execute("ALTER SYSTEM SET commit_delay = 2000")
        held.execute("ALTER SYSTEM SET commit_siblings = 0")
        held.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            held.execute("ALTER SYSTEM RESET commit_delay")
            held.execute("ALTER SYSTEM RESET commit_siblings")
            held.execute("SELECT pg_reload_conf()")
