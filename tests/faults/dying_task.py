"""Runs tasks in forks of itself, each of which dies by ``kill -9`` at the place it is told.

Reads one line a run and answers it with the fork's end: 0, or the number of the signal below zero.
"""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import django
import msgspec
import redis

django.setup()

from django.db import connection  # noqa: E402 - after Django is set up

from catbird_mls.celery import app  # noqa: E402
from catbird_mls.xrpc import readings  # noqa: E402
from tests.faults.places import APPLICATION, Run, watched  # noqa: E402

# Imported on first use, which would be in the forks.
NEEDED = ("celery.app.trace", "httpcore", "anyio._backends._asyncio", "h2.connection")


class Death:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.passed = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        self.passed += 1
        here = self.passed == self.run.place
        if here and self.run.side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        yield
        if here:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def passing(*args: Any, **given: Any) -> Any:
            with self.passing():
                return work(*args, **given)

        return passing


def perform(run: Run) -> None:
    death = Death(run)
    redis.Redis.set = death.around(redis.Redis.set)  # type: ignore[method-assign]  # what is kept on the bus
    readings.KEY = run.readings
    with watched(death.passing):
        app.tasks[run.task].apply(args=run.args, throw=True)


def end_of(run: Run) -> int:
    """How the fork that performs it ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        perform(run)
    except BaseException:  # noqa: BLE001 - told on stderr, and by the status
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def prepare() -> None:
    """Whatever every fork would have to do again."""
    app.loader.import_default_modules()
    app.finalize()
    for name in NEEDED:
        import_module(name)
    connection.settings_dict["OPTIONS"]["application_name"] = APPLICATION
    connection.ensure_connection()
    connection.close()
    # Forks share what nobody touches.
    gc.freeze()


def main() -> None:
    prepare()
    for line in sys.stdin:
        sys.stdout.write(f"{end_of(msgspec.json.decode(line, type=Run))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
