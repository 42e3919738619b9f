"""Counting against limits: each window begins with what is first counted in it, and forgets all at once."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

KEYS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """So much of something in so many seconds, and how much of it is wanted."""

    key: str
    limit: int
    seconds: int
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Charge:
    """How full a bucket is and when it is empty again: the first one, or the one that had no room."""

    bucket: Bucket
    used: int
    seconds_left: float
    allowed: bool

    @property
    def retry_after(self) -> int:
        """In whole seconds, for ``Retry-After``."""
        return max(1, math.ceil(self.seconds_left))


class Windows:
    """Windows in the memory of this process; past a number of keys the oldest are forgotten."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._open: dict[str, tuple[int, float]] = {}
        self._lock = Lock()

    def charge(self, buckets: Sequence[Bucket]) -> Charge:
        """Take from all of them, or, when one has no room, from none."""
        now = time.monotonic()
        with self._lock:
            for bucket in buckets:
                used, ends = self._window(bucket, now)
                if used + bucket.cost > bucket.limit:
                    return Charge(bucket, used, ends - now, allowed=False)
            for bucket in reversed(buckets):
                used, ends = self._window(bucket, now)
                self._open[bucket.key] = (used + bucket.cost, ends)
            self._tidy(now)
            return Charge(bucket, used + bucket.cost, ends - now, allowed=True)

    def has_room(self, bucket: Bucket) -> bool:
        """Whether a charge would be allowed at this instant."""
        with self._lock:
            return self._window(bucket, time.monotonic())[0] + bucket.cost <= bucket.limit

    def clear(self) -> None:
        with self._lock:
            self._open.clear()

    def _window(self, bucket: Bucket, now: float) -> tuple[int, float]:
        used, ends = self._open.get(bucket.key, (0, 0.0))
        return (used, ends) if ends > now else (0, now + bucket.seconds)

    def _tidy(self, now: float) -> None:
        if len(self._open) <= self._keys_max:
            return
        self._open = {key: window for key, window in self._open.items() if window[1] > now}
        excess = len(self._open) - self._keys_max * 3 // 4
        for key in list(self._open)[: max(0, excess)]:
            del self._open[key]
