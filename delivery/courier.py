"""What leaves a process after a commit: bells, hints and nudges, on a thread of their own.

Whoever has committed puts them down here and goes on, so a bus that is down or hangs holds nobody up. What
waits is merged: one bell a key, one nudge a kind. All of it may be lost without harm, because streams and
the sweep look by themselves.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import redis
from kombu.exceptions import OperationalError

from catbird_mls.xrpc.bus import impatient_bus

logger = logging.getLogger(__name__)

BELL = "catbird.bell"
HINTS = "catbird.hints"
# Between two nudges of one kind: a worker that has just been told finds what came meanwhile, too.
NUDGE_SPACING_SECONDS = 0.1
# A bus that failed is left alone for so long.
DOWN_SECONDS = 1.0
# What is told later than this would mislead: somebody types, somebody asked.
HINT_LIFETIME_SECONDS = 5.0
HINTS_MAX = 256
KEYS_MAX = 10_000
LAST_WORDS_SECONDS = 1.0

Nudge = Callable[[str], object]


class _Due(NamedTuple):
    at: float
    spacing: float
    send: Nudge


class Courier:
    """Safe under threads, and after a fork begins anew."""

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._changed = threading.Condition()
        self._bells: dict[str, int] = {}
        self._hints: deque[tuple[float, bytes]] = deque(maxlen=HINTS_MAX)
        self._nudges: dict[str, _Due] = {}
        self._rests_until: dict[str, float] = {}
        self._down_until = 0.0
        self._busy = False
        self._bus: redis.Redis | None = None
        self._thread: threading.Thread | None = None

    def ring(self, key: str, seq: int) -> None:
        """Of several rings for a key the last place counts; place 0 stands for any."""
        with self._changed:
            if len(self._bells) < KEYS_MAX or key in self._bells:
                seqs = (seq, self._bells.get(key, seq))
                self._bells[key] = max(seqs) if all(seqs) else 0
            self._wake()

    def announce(self, hint: bytes) -> None:
        with self._changed:
            self._hints.append((time.monotonic(), hint))
            self._wake()

    def nudge(self, key: str, send: Nudge, *, spacing: float = NUDGE_SPACING_SECONDS) -> None:
        """Have ``send`` called once with the key, soon, however often it is asked for meanwhile.

        So many seconds pass before it is called again.
        """
        with self._changed:
            if len(self._nudges) < KEYS_MAX:
                self._nudges.setdefault(key, _Due(self._rests_until.get(key, 0.0), spacing, send))
            self._wake()

    def settle(self, seconds: float = LAST_WORDS_SECONDS) -> bool:
        """Wait until everything put down has left, or has been tried in vain; False when it takes longer."""
        with self._changed:
            return self._changed.wait_for(self._settled, seconds)

    def _settled(self) -> bool:
        idle = not (self._bells or self._hints or self._nudges or self._busy)
        return idle or time.monotonic() < self._down_until

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while (wait := self._seconds_to_wait()) is None or wait > 0:
                    self._changed.wait(wait)
                bells, self._bells = self._bells, {}
                hints = self._fresh_hints()
                nudges = self._due_nudges()
                self._busy = True
            left = self._leave(bells, hints, nudges)
            with self._changed:
                self._busy = False
                if not left:
                    self._keep(bells, nudges)
                self._changed.notify_all()

    def _seconds_to_wait(self) -> float | None:
        now = time.monotonic()
        if not (self._bells or self._hints or self._nudges):
            return None
        first = 0.0 if self._bells or self._hints else min(one.at for one in self._nudges.values())
        return max(first, self._down_until) - now

    def _fresh_hints(self) -> list[bytes]:
        since = time.monotonic() - HINT_LIFETIME_SECONDS
        hints = [hint for put_down, hint in self._hints if put_down > since]
        self._hints.clear()
        return hints

    def _due_nudges(self) -> "dict[str, _Due]":
        now = time.monotonic()
        due = {key: one for key, one in self._nudges.items() if one.at <= now}
        self._nudges = {key: one for key, one in self._nudges.items() if key not in due}
        self._rests_until = {key: until for key, until in self._rests_until.items() if until > now}
        self._rests_until |= {key: now + one.spacing for key, one in due.items()}
        return due

    def _leave(self, bells: dict[str, int], hints: list[bytes], nudges: "dict[str, _Due]") -> bool:
        """Bells first, because they are quick, and show whether the bus is there at all."""
        try:
            self._publish(bells, hints)
            for key, one in nudges.items():
                one.send(key)
        except (redis.RedisError, OperationalError, OSError) as error:
            if not self._down_until:
                logger.warning("bus down cause=%s", type(error).__name__)
            self._down_until = time.monotonic() + DOWN_SECONDS
            return False
        if self._down_until:
            logger.info("bus is back")
            self._down_until = 0.0
        return True

    def _publish(self, bells: dict[str, int], hints: list[bytes]) -> None:
        if self._bus is None:
            self._bus = impatient_bus()
        with self._bus.pipeline(transaction=False) as pipe:
            for key, seq in bells.items():
                pipe.publish(BELL, f"{key} {seq}")
            for hint in hints:
                pipe.publish(HINTS, hint)
            pipe.execute()

    def _keep(self, bells: dict[str, int], nudges: "dict[str, _Due]") -> None:
        """For when the bus is back. What is rung or nudged twice does no harm."""
        self._bells = bells | self._bells if len(self._bells) < KEYS_MAX else self._bells
        self._nudges = nudges | self._nudges if len(self._nudges) < KEYS_MAX else self._nudges


courier = Courier()
os.register_at_fork(after_in_child=courier._begin_anew)
atexit.register(courier.settle)
