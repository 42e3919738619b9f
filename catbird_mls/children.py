"""Processes that are kept running, and that leave nothing behind when they are ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catbird_mls.embedded import Command

LOOK_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# Having run this long, a process is taken for sound, and its next end for its first.
SETTLED_SECONDS = 30.0
SWEEPS = 40


def say(fact: str) -> None:
    sys.stderr.write(f"catbird-mls: {fact}\n")
    sys.stderr.flush()


@dataclass
class Child:
    """One process that is kept running: started when due, started again when it ends."""

    name: str
    command: Callable[[], Command]
    patience_seconds: float
    process: "subprocess.Popen[bytes] | None" = None
    stop_signal: signal.Signals = signal.SIGTERM
    began: float = 0.0
    due: float = 0.0
    failures: int = 0

    def keep(self, data: Path) -> None:
        """Start it when it is due; when it has ended, clear up and set the time it is due again."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due:
                self._start(data, now)
        elif (status := self.process.poll()) is not None:
            self._sweep(self.process)
            self._put_off(now, f"ended with status {status}")

    def _start(self, data: Path, now: float) -> None:
        command = self.command()
        self.began, self.stop_signal = now, command.stop_signal
        try:
            self.process = command.spawn(data)
        except OSError as error:
            self._put_off(now, f"cannot start: {error}")

    def _put_off(self, now: float, cause: str) -> None:
        self.process = None
        self.failures = 1 if now - self.began > SETTLED_SECONDS else self.failures + 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures - 1, 10))
        self.due = now + pause
        say(f"{self.name} {cause}, again in {pause:g} s; see {self.name}.log")

    def end(self, *, hurried: Callable[[], bool]) -> None:
        """Ask, wait, insist; afterwards nothing of its process group is left."""
        if self.process is None:
            return
        self.process.send_signal(self.stop_signal)
        give_up = time.monotonic() + self.patience_seconds
        while self.process.poll() is None and time.monotonic() < give_up and not hurried():
            time.sleep(LOOK_SECONDS / 2)
        self._sweep(self.process)
        self.process.wait()
        self.process = None

    @staticmethod
    def _sweep(process: "subprocess.Popen[bytes]") -> None:
        """Kill what is left of the group: a killed leader leaves its own children behind."""
        for _ in range(SWEEPS):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return
            process.poll()
            time.sleep(LOOK_SECONDS / 4)
