"""Web processes on one database, each with an event loop, a sequencer and connections of its own.

Run as a program it loads the application once and forks; each fork's argument says whether it batches.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from django.conf import settings
from uvicorn import Config, Server
from uvicorn.importer import import_from_string

from tests.live import APPLICATION, PATIENCE_SECONDS, answering, environment


@dataclass(frozen=True)
class Webs:
    """Where they listen, and their process numbers."""

    urls: Sequence[str]
    pids: Sequence[int]


class Spread:
    """Calls go to one after the other, whoever makes them."""

    def __init__(self, *urls: str) -> None:
        self._clients = [httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) for url in urls]
        self._turns = count()

    def call(
        self, verb: str, path: str, *, query: Mapping[str, Any], body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        client = self._clients[next(self._turns) % len(self._clients)]
        answer = client.request(verb, path, params=dict(query), content=body, headers=dict(headers))
        return answer.status_code, answer.content

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def webs(batched: Sequence[bool]) -> Iterator[Webs]:
    """One for each; they end with the block, or with this process."""
    argv = [sys.executable, "-m", "tests.races.webs", *(str(one) for one in batched)]
    surroundings = environment(DJANGO_SETTINGS_MODULE="catbird_mls.settings")
    with subprocess.Popen(argv, env=surroundings, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            told = [process.stdout.readline().split() for _ in batched]
            urls = [answering(f"http://127.0.0.1:{port}", process) for _, port in told]
            yield Webs(urls, [int(pid) for pid, _ in told])
        finally:
            process.stdin.close()


def main(batched: Sequence[str]) -> None:
    application = import_from_string(APPLICATION)
    forks: list[int] = []
    try:
        for one in batched:
            listener = socket.create_server(("127.0.0.1", 0))
            forks.append(_fork(application, listener, batched=one == "True"))
            sys.stdout.write(f"{forks[-1]} {listener.getsockname()[1]}\n")
            sys.stdout.flush()
            listener.close()
        # It ends when nobody needs them any more.
        sys.stdin.read()
    finally:
        for pid in forks:
            os.kill(pid, signal.SIGKILL)


def _fork(application: Any, listener: socket.socket, *, batched: bool) -> int:
    """The number of the process that serves there."""
    if pid := os.fork():
        return pid
    settings.ENABLE_ACTOR_SYSTEM = batched
    Server(Config(application, log_level="warning", ws_per_message_deflate=False)).run(sockets=[listener])
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
