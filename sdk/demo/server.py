"""A server of its own for the demo: fresh data, a free port, gone afterwards."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICE_DID = "did:web:localhost"
READY_SECONDS = 120
STOP_SECONDS = 20
LOG_LINES_SHOWN = 8
LINE_CHARACTERS_SHOWN = 600


class ServerFailed(Exception):
    """The server did not start; the end of its log says why."""


@dataclass(frozen=True)
class Server:
    url: str
    secret: str
    folder: Path

    def last_words(self) -> str:
        return _last_words(self.folder)


@asynccontextmanager
async def own_server(folder: Path) -> AsyncIterator[Server]:
    """A server that is ready, and is stopped whatever happens inside."""
    secret = secrets.token_hex(32)
    with (folder / "server.log").open("wb") as output:
        process = await _start(folder / "data", secret, output.fileno())
        drain: asyncio.Task[None] | None = None
        try:
            url = await _ready(process, folder)
            drain = asyncio.create_task(_drain(process, output.fileno()))
            yield Server(url, secret, folder)
        finally:
            await _stop(process)
            if drain is not None:
                await drain


async def _start(data: Path, secret: str, log: int) -> Process:
    environment = os.environ | {
        "SERVER_PORT": str(_free_port()),
        "CATBIRD_DATA": str(data),
        "JWT_SECRET": secret,
        "SERVICE_DID": SERVICE_DID,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "catbird_mls.serve", cwd=REPOSITORY, env=environment, stdout=PIPE, stderr=log
    )


async def _ready(process: Process, folder: Path) -> str:
    if process.stdout is None:
        raise ServerFailed("the server has no output")
    try:
        async with asyncio.timeout(READY_SECONDS):
            async for line in process.stdout:
                word, _, url = line.decode(errors="replace").strip().partition(" ")
                if word == "ready":
                    return url
    except TimeoutError:
        raise ServerFailed(f"not ready after {READY_SECONDS} s\n{_last_words(folder)}") from None
    raise ServerFailed(f"it ended before it was ready\n{_last_words(folder)}")


async def _drain(process: Process, log: int) -> None:
    """A pipe nobody reads would stop the server when it is full."""
    while process.stdout is not None and (portion := await process.stdout.read(65536)):
        os.write(log, portion)


async def _stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_words(folder: Path) -> str:
    """The end of every log of the server and of what it has started."""
    logs = [folder / "server.log", *sorted((folder / "data" / "log").glob("*.log"))]
    return "\n".join(f"--- {log.name}\n{_end(log)}" for log in logs if log.exists())


def _end(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line[-LINE_CHARACTERS_SHOWN:] for line in lines[-LOG_LINES_SHOWN:])
