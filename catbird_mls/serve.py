"""``python -m catbird_mls.serve``: the whole server on one machine, kept running until told to stop.

Starts PostgreSQL and Valkey when no address of another is given, then migrations, web processes, a
Celery worker and beat; whatever ends is started again. The web processes share one listening socket
that stays open while one of them restarts, so callers wait instead of being refused.
"""

import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType

from django.conf import settings

from catbird_mls import embedded
from catbird_mls.capacity import shortage
from catbird_mls.children import LOOK_SECONDS, Child, say
from catbird_mls.data_folder import last_words, locked, make_folder
from catbird_mls.embedded import Command, EmbeddedError
from catbird_mls.migrated import is_current

PATIENCE_SECONDS = 60.0
# What a killed predecessor left behind needs a moment to let go of the port.
PORT_PATIENCE_SECONDS = 15.0
REMIND_SECONDS = 30.0
STREAMS_CLOSE_SECONDS = 5
BACKLOG = 2048


class Refused(Exception):
    """The server cannot run here and now; the message says why."""


class Stopped(Exception):
    """Somebody asked for an end."""


class Supervisor:
    """Starts in order, keeps running, stops in the opposite order."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.children: list[Child] = []
        self.signals = 0

    def run(self, listener: socket.socket) -> None:
        """Return when a signal asked for it; nothing that was started is left then."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._notice)
        try:
            self._start_embedded()
            if found := shortage():
                raise Refused(found)
            self._migrate()
            self.children += web_children(listener.fileno())
            self._wait_for_web(listener)
            # Later than the web, because all of them load the same code and would take turns at it.
            self.children += task_children(self.data)
            self._keep_until(lambda: all(child.process for child in self.children))
            announce(listener)
            self._keep_until(lambda: False)
        except Stopped:
            say("stopping")
        finally:
            for child in reversed(self.children):
                child.end(hurried=lambda: self.signals > 1)

    def _notice(self, _signum: int, _frame: FrameType | None) -> None:
        # A second signal means that whoever waits has lost patience.
        self.signals += 1

    def _keep_until(self, reached: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Keep the children running until something is so; False when it is not so in time."""
        give_up = time.monotonic() + seconds
        while True:
            if self.signals:
                raise Stopped
            # Before looking: the socket lets anybody in and keeps them waiting, even for a process not yet started.
            for child in self.children:
                child.keep(self.data)
            if reached():
                return True
            if time.monotonic() > give_up:
                return False
            time.sleep(LOOK_SECONDS)

    def _start_embedded(self) -> None:
        user, postgres, valkey = (
            settings.CATBIRD_POSTGRES_USER,
            settings.EMBEDDED_POSTGRES,
            settings.EMBEDDED_VALKEY,
        )
        embedded.prepare(self.data, postgres_user=user, postgres=postgres, valkey=valkey)
        answers: dict[str, Callable[[Path], bool]] = {}
        if postgres:
            command = partial(embedded.postgres_command, self.data, postgres_user=user)
            self.children.append(Child("postgres", command, patience_seconds=60))
            answers["postgres"] = embedded.postgres_answers
        if valkey:
            self.children.append(Child("valkey", partial(embedded.valkey_command, self.data), 20))
            answers["valkey"] = embedded.valkey_answers
        for name, answer in answers.items():
            if not self._keep_until(partial(answer, self.data), PATIENCE_SECONDS):
                raise Refused(f"{name} does not start; its last words: {last_words(self.data, name)}")

    def _migrate(self) -> None:
        if is_current():
            return
        process = python_command("migrate", "django", "migrate", "--noinput").spawn(self.data)
        try:
            self._keep_until(lambda: process.poll() is not None)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise Refused(f"the migrations failed; their last words: {last_words(self.data, 'migrate')}")

    def _wait_for_web(self, listener: socket.socket) -> None:
        host, port = reachable(listener)
        while not self._keep_until(partial(is_ready, host, port), REMIND_SECONDS):
            say(f"not ready yet; the logs are in {self.data / 'log'}")


def announce(listener: socket.socket) -> None:
    host, port = reachable(listener)
    sys.stdout.write(f"ready http://{f'[{host}]' if ':' in host else host}:{port}\n")
    sys.stdout.flush()


def reachable(listener: socket.socket) -> tuple[str, int]:
    """Where a caller on this machine finds the socket."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def python_command(name: str, *argv: str, pass_fds: tuple[int, ...] = ()) -> Command:
    return Command(name, (sys.executable, "-m", *argv), pass_fds=pass_fds)


def web_children(listener: int) -> list[Child]:
    argv = ["uvicorn", "catbird_mls.asgi:application", "--fd", str(listener), "--no-access-log"]
    argv += ["--timeout-graceful-shutdown", str(STREAMS_CLOSE_SECONDS)]
    # Ciphertext does not get smaller, and compressing costs every open stream more memory than the stream itself.
    argv += ["--ws-per-message-deflate", "false"]
    numbers = range(1, settings.CATBIRD_WEB_PROCESSES + 1)
    return [kept(python_command(f"web-{number}", *argv, pass_fds=(listener,))) for number in numbers]


def task_children(data: Path) -> list[Child]:
    celery = ["celery", "-A", "catbird_mls"]
    alike = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    worker = ["worker", "--pool", "prefork", "--concurrency", str(settings.CATBIRD_WORKER_PROCESSES), *alike]
    pusher = ["worker", "--pool", "solo", "--queues", "push", "--hostname", "push@%h", *alike]
    # Without a pid file, which would outlive a killed beat and keep the next from starting.
    beat = ["beat", "--schedule", str(data / "beat-schedule"), "--pidfile", "", "--loglevel", "INFO"]
    children = [kept(python_command("worker", *celery, *worker)), kept(python_command("beat", *celery, *beat))]
    if settings.PUSH_PLATFORMS:
        children[0] = kept(python_command("worker", *celery, *worker, "--exclude-queues", "push"))
        children.append(kept(python_command("pusher", *celery, *pusher)))
    return children


def kept(command: Command) -> Child:
    return Child(command.name, lambda: command, patience_seconds=20)


def is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    named = settings.ALLOWED_HOSTS[0].lstrip(".")
    try:
        connection.request("GET", "/health/ready", headers={} if named == "*" else {"Host": named})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listen(host: str, port: int) -> socket.socket:
    """The socket that all web processes accept on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    give_up = time.monotonic() + PORT_PATIENCE_SECONDS
    while True:
        try:
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            if time.monotonic() > give_up:
                raise Refused(f"cannot listen on {host} port {port}: {error.strerror}") from error
        else:
            # Handed down to every connection. The web server takes an inherited socket for a local one and does not
            # ask for it, and answers then wait forty milliseconds for an acknowledgement.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return listener
        time.sleep(LOOK_SECONDS)


def serve(data: Path) -> None:
    make_folder(data)
    with ExitStack() as held:
        try:
            held.enter_context(locked(data, "serve", wait=False))
        except BlockingIOError:
            raise Refused(f"a server is already running on the data folder {data}") from None
        drop_old_counts()
        Supervisor(data).run(held.enter_context(listen(settings.SERVER_HOST, settings.SERVER_PORT)))


def drop_old_counts() -> None:
    """Counters begin with the server: what an earlier one's processes have left is not added to them."""
    for file in settings.CATBIRD_METRICS_DIR.glob("*/*.db"):
        file.unlink()


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "catbird_mls.settings")
    try:
        serve(settings.CATBIRD_DATA)
    except (Refused, EmbeddedError) as refusal:
        say(str(refusal))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
