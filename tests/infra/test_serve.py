"""``python -m catbird_mls.serve``: one ready line, nothing stays dead, nothing stays behind."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from catbird_mls.children import Child
from catbird_mls.data_folder import make_folder
from catbird_mls.embedded import Command
from catbird_mls.serve import Supervisor
from tests.infra.processes import ENOUGH_SECONDS, command_line, processes_on, wait_until

ROOT = Path(__file__).parents[2]
NOT_OURS = ("DATABASE_URL", "REDIS_URL", "CATBIRD_ENV", "CATBIRD_TEST_DATA")


class Served:
    """One supervisor on a data folder of its own, on a port the kernel chooses."""

    def __init__(self, data: Path, environment: dict[str, str]) -> None:
        self.data = data
        # A file, because a pipe that nobody reads would stop whoever has much to complain about.
        self.complaints = data.parent / "stderr"
        self.environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        self.environment |= {"CATBIRD_DATA": str(data), "SERVER_PORT": "0", **environment}
        self.process = self.launch()
        self.ready_line = self._line()
        self.url = self.ready_line.removeprefix("ready ")

    def launch(self) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-m", "catbird_mls.serve"]
        with self.complaints.open("a") as stderr:
            return subprocess.Popen(
                argv, cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=stderr
            )

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().rstrip("\n")
        assert line, self.complaints.read_text()
        return line

    def end(self, signum: signal.Signals) -> tuple[int, str]:
        """The exit status, and what stdout held after its first line."""
        self.process.send_signal(signum)
        rest, _ = self.process.communicate(timeout=ENOUGH_SECONDS)
        return self.process.returncode, rest

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=ENOUGH_SECONDS) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def children(self, word: str) -> set[int]:
        """Direct children of the supervisor whose command holds the word."""
        return {pid for pid in children_of(self.process.pid) if word in command_line(pid)}

    def family(self) -> list[int]:
        """All that descends from the supervisor."""
        found = children_of(self.process.pid)
        for pid in found:
            found += children_of(pid)
        return found


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pids: list[int]) -> list[str]:
    """The commands of those that still run; a process that awaits burial has none."""
    return [line for pid in pids if (line := command_line(pid))]


Serve = Callable[..., Served]


@pytest.fixture
def serve(data: Path) -> Iterator[Serve]:
    launched: list[Served] = []

    def start(**environment: str) -> Served:
        launched.append(Served(data, environment))
        return launched[-1]

    yield start
    for served in launched:
        if served.process.poll() is None:
            served.end(signal.SIGTERM)


def ends_cleanly(served: Served, signum: signal.Signals) -> None:
    # Beat, the web, a worker with its two, Valkey, PostgreSQL with its own five.
    wait_until(lambda: len(served.family()) >= 11)
    family = served.family()
    assert served.end(signum) == (0, "")
    assert alive(family) == []
    assert processes_on(served.data) == []


def test_one_ready_line_a_second_start_that_says_so_and_an_end_by_sigint(serve: Serve) -> None:
    served = serve()
    assert served.ready_line.startswith("ready http://127.0.0.1:")
    second = served.launch()
    out, _ = second.communicate(timeout=ENOUGH_SECONDS)
    assert (second.returncode, out) == (1, "")
    assert f"already running on the data folder {served.data}" in served.complaints.read_text()
    assert served.answers()
    ends_cleanly(served, signal.SIGINT)


def test_more_connections_than_there_are_is_a_start_that_says_so(data: Path) -> None:
    environment = {**os.environ, "CATBIRD_DATA": str(data), "SERVER_PORT": "0", "CATBIRD_WEB_PROCESSES": "50"}
    environment = {name: value for name, value in environment.items() if name not in NOT_OURS}
    argv = [sys.executable, "-m", "catbird_mls.serve"]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=ENOUGH_SECONDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert "and PostgreSQL allows 197: lower CATBIRD_DATABASE_POOL" in done.stderr
    assert processes_on(data) == []


def test_a_process_is_started_before_anybody_asks_whether_it_answers(data: Path) -> None:
    make_folder(data)
    supervisor, child = Supervisor(data), Child("sleeper", lambda: Command("sleeper", ("/bin/sleep", "60")), 5)
    supervisor.children.append(child)
    try:
        assert supervisor._keep_until(lambda: child.process is not None, seconds=0)
    finally:
        child.end(hurried=lambda: True)


def test_what_is_killed_is_started_again_with_nothing_of_it_left(serve: Serve) -> None:
    served = serve(CATBIRD_WEB_PROCESSES="2")
    (worker,) = served.children(" worker ")
    wait_until(lambda: len(children_of(worker)) >= 2)
    pool = children_of(worker)
    for word, count in [("uvicorn", 2), (" worker ", 1), (" beat ", 1), ("postgres -D", 1), ("valkey-server", 1)]:
        before = served.children(word)
        assert len(before) == count
        os.kill(min(before), signal.SIGKILL)
        wait_until(partial(replaced, served, word, before))
    wait_until(served.answers)
    assert alive(pool) == []
    ends_cleanly(served, signal.SIGTERM)


def replaced(served: Served, word: str, before: set[int]) -> bool:
    after = served.children(word)
    return len(after) == len(before) and bool(after - before)


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_works(serve: Serve) -> None:
    served = serve()
    family = served.family()
    assert served.end(signal.SIGKILL) == (-signal.SIGKILL, "")
    migrating = served.data / "log" / "migrate.log"
    before = migrating.stat()
    assert serve().answers()
    wait_until(lambda: not alive(family))
    assert migrating.stat().st_mtime_ns == before.st_mtime_ns, "there was nothing to migrate"
