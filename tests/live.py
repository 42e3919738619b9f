"""A real web process on a real socket, over the test's own database."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
from django.conf import settings
from django.db import connection

PATIENCE_SECONDS = 60
APPLICATION = "catbird_mls.asgi:application"


@dataclass
class Web:
    url: str
    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**changes: str) -> dict[str, str]:
    """What a process needs to work on the test's database and bus."""
    database = connection.settings_dict
    user, password = quote(database["USER"]), quote(database["PASSWORD"])
    url = f"postgresql://{user}:{password}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    return os.environ | {"DATABASE_URL": url, "REDIS_URL": settings.REDIS_URL} | changes


def web(application: str = APPLICATION, **changes: str) -> AbstractContextManager[Web]:
    """What production runs."""
    argv = ["uvicorn", application, "--log-level", "warning", "--ws-per-message-deflate", "false"]
    return _serving(argv, changes)


def daphne(**changes: str) -> AbstractContextManager[Web]:
    """What ``runserver`` is."""
    return _serving(["daphne", APPLICATION, "--verbosity", "0"], changes)


@contextmanager
def _serving(argv: list[str], changes: dict[str, str]) -> Iterator[Web]:
    port = free_port()
    command = [sys.executable, "-m", *argv, "--port", str(port)]
    process = subprocess.Popen(command, env=environment(**changes))
    try:
        yield Web(answering(f"http://127.0.0.1:{port}", process), process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)


def answering(url: str, process: "subprocess.Popen[Any]") -> str:
    """The same, once a web process is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the web process ended by itself"
        try:
            if httpx.get(f"{url}/health/live").status_code == 200:
                return url
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the web process does not answer")
