"""What a data folder keeps between runs: ports, passwords, secrets, locks and logs.

Every file is private, appears whole or not at all, and is made once however many come at a time.
"""

import fcntl
import json
import os
import random
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

LOG_MAX_BYTES = 10 * 1024 * 1024
LAST_WORDS_CHARACTERS = 1500
# Below the range the kernel takes outgoing ports from, so that no client borrows a server's port.
PORTS = range(15_000, 32_000)


class EmbeddedError(Exception):
    """A server cannot be provided here; the message names the remedy."""


def kept_facts(data: Path) -> dict[str, Any]:
    """What ``embedded.json`` says; chosen on first use, the same ever after."""
    kept: dict[str, Any] = json.loads(once(data, "embedded.json", _new_addresses))
    return kept


def once(data: Path, name: str, make: Callable[[], str]) -> str:
    """The content of a private file, made by whoever comes first."""
    path = data / name
    try:
        return path.read_text()
    except FileNotFoundError:
        make_folder(data)
    with locked(data, "once"):
        if not path.exists():
            write_private(path, make())
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(beside, "x", opener=_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@contextmanager
def locked(data: Path, name: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it when the holder dies.

    Without waiting, a lock that another one holds is a ``BlockingIOError``.
    """
    with open(data / f".{name}.lock", "w", opener=_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def open_log(data: Path, name: str) -> IO[bytes]:
    """The log of one process, private and appended to; one older piece is kept."""
    folder = data.resolve() / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.log"
    if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
        path.replace(folder / f"{name}.log.1")
    return open(path, "ab", opener=_private)


def last_words(data: Path, name: str) -> str:
    """The end of a process' log, for the error that says it failed."""
    path = data.resolve() / "log" / f"{name}.log"
    return path.read_text(errors="replace")[-LAST_WORDS_CHARACTERS:].strip() if path.exists() else ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def make_folder(data: Path) -> None:
    """Make the folder if it is not there; one that is keeps the permissions it has."""
    try:
        data.mkdir(parents=True)
    except FileExistsError:
        return
    # Root's folder may be passed through by the server's user; the files in it stay closed.
    data.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _new_addresses() -> str:
    made: dict[str, Any] = {"id": secrets.token_hex(8)}
    made |= {name: secrets.token_urlsafe(24) for name in ("password", "superuser_password", "valkey_password")}
    postgres_port = _free_port()
    made |= {"postgres_port": postgres_port, "valkey_port": _free_port(but_not=postgres_port)}
    return json.dumps(made, indent=1)


def _free_port(but_not: int = 0) -> int:
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port != but_not:
            return port
    raise EmbeddedError("no free port on 127.0.0.1; set DATABASE_URL and REDIS_URL")
