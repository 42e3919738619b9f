"""The server as it is deployed, ``python -m catbird_mls.serve``, on the database and the bus of the bench."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from catbird_mls import embedded
from catbird_mls.data_folder import kept_facts

ROOT = Path(__file__).parent.parent
WEB_PROCESSES = 2
PATIENCE_SECONDS = 120.0
# At rest is what uses less than this share of a processor, looked at for so long.
REST_SHARE, REST_SECONDS = 0.15, 2.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# As deployed: a line for every request.
LOGGING = {"CATBIRD_LOG_LEVEL": "INFO"}
# The caller is one account, and no account may ask as often as all callers of the bench.
UNLIMITED = dict.fromkeys(
    ("RATE_LIMIT_SEND_MESSAGE", "RATE_LIMIT_DID_DEFAULT", "RATE_LIMIT_ADD_MEMBERS", "AUTH_RATE_LIMIT_PER_SECOND"), "0"
)


@dataclass
class Stack:
    """A running server: where it answers, where its data are, and its supervisor."""

    data: Path
    port: int
    process: "subprocess.Popen[str]"
    ready_seconds: float

    def pids(self, *words: str) -> list[int]:
        """Its processes whose command has one of these words, or all of them."""
        return [pid for pid in family(self.process.pid) if not words or any(word in command_of(pid) for word in words)]


@contextmanager
def own_folder() -> Iterator[Path]:
    """A data folder for a stack with servers of its own, forgotten afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="catbird-bench-"))
    # PostgreSQL does not run as root, and must be able to come to its files.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        embedded.forget(folder)


@contextmanager
def stack(data: Path | None = None, **changes: object) -> Iterator[Stack]:
    """Two web processes without rate limits, or what ``changes`` to the environment make of it; ended afterwards.

    On the servers of the bench, or with a data folder of its own on servers of its own.
    """
    variables = {"CATBIRD_WEB_PROCESSES": WEB_PROCESSES, "SERVER_PORT": 0, **LOGGING, **UNLIMITED, **changes}
    ours = embedded.addresses(settings.CATBIRD_DATA)
    own = {"CATBIRD_DATA": str(data)} if data else {"DATABASE_URL": ours.database_url, "REDIS_URL": ours.redis_url}
    environment = os.environ | own | {"JWT_SECRET": settings.JWT_SECRET}
    # The pool of this process is made for its threads, that of the server for what it is deployed with.
    environment.pop("CATBIRD_DATABASE_POOL")
    environment |= {name: str(value) for name, value in variables.items()}
    began, process = time.perf_counter(), _launched(environment)
    try:
        port = _ready_port(process)
        running = Stack(data or settings.CATBIRD_DATA, port, process, time.perf_counter() - began)
        come_to_rest(running)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)


def _launched(environment: dict[str, str]) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "catbird_mls.serve"]
    return subprocess.Popen(argv, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE)  # noqa: S603 - ours


def _ready_port(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), line
    return int(line.rpartition(":")[2])


def come_to_rest(running: Stack) -> None:
    """Wait until nothing is loading any more: the web answers before the worker and beat have begun."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    spent, before = cpu_seconds(running.pids()), float("-inf")
    while spent - before > REST_SHARE * REST_SECONDS and time.monotonic() < give_up:
        time.sleep(REST_SECONDS)
        before, spent = spent, cpu_seconds(running.pids())


def family(pid: int) -> list[int]:
    """All that descends from a process."""
    found = _children(pid)
    for one in found:
        found += _children(one)
    return found


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def cpu_seconds(pids: list[int]) -> float:
    """Processor time of these processes, and of their children that have ended."""
    return sum(_cpu_ticks(pid) for pid in pids) / TICKS_A_SECOND


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def memory_mb(pids: list[int]) -> float:
    """Proportional set size: what processes share counts once, in equal parts."""
    return sum(_pss_kb(pid) for pid in pids) / 1000


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def postgres_pids(data: Path) -> list[int]:
    """PostgreSQL's processes, the first of which is their parent."""
    pid = int((embedded.home(data) / "postgres" / "postmaster.pid").read_text().split()[0])
    return [pid, *family(pid)]


def database(data: Path, *, as_superuser: bool = False) -> "psycopg.Connection[Any]":
    """A connection of the bench's own, where every statement is a transaction."""
    url = embedded.addresses(data).database_url
    if not as_superuser:
        return psycopg.connect(url, autocommit=True)
    password = kept_facts(data)["superuser_password"]
    return psycopg.connect(url, user="postgres", password=password, autocommit=True)


def eventually(reached: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < give_up, f"{what}: not within {PATIENCE_SECONDS:.0f} seconds"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
