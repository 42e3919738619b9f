"""Numbers one process works out for the whole service, kept on the bus for whoever is asked for them.

A job reads them from the database, in whatever process or container; ``/metrics`` shows the last ones with
their age. They are all replaced together, and forgotten when nothing has replaced them for a day.
"""

import time

import msgspec
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

KEY = "catbird:readings"
KEPT_SECONDS = 86_400
PATIENCE_SECONDS = 1


class Gauge(msgspec.Struct, frozen=True, tag=True):
    """One number for each value of a label."""

    name: str
    text: str
    label: str
    values: dict[str, float]


class Spread(msgspec.Struct, frozen=True, tag=True):
    """How many lie at or below each bound, of which the last is ``+Inf``, and the sum of them all."""

    name: str
    text: str
    buckets: dict[str, float]
    total: float


Reading = Gauge | Spread


class Kept(msgspec.Struct, frozen=True):
    """Readings and the moment they are of, in seconds since 1970."""

    at: float
    readings: list[Reading]


def keep_readings(readings: list[Reading]) -> None:
    """From now on these are shown, and no earlier ones."""
    with _bus() as bus:
        bus.set(KEY, msgspec.json.encode(Kept(time.time(), readings)), ex=KEPT_SECONDS)


def kept_readings() -> Kept | None:
    """The last readings; None when there are none, when the bus is down, or when another version wrote them."""
    try:
        with _bus() as bus:
            text = bus.get(KEY)
        return None if text is None else msgspec.json.decode(text, type=Kept)
    except (redis.RedisError, msgspec.MsgspecError):
        return None


def _bus() -> redis.Redis:
    # Asked once: whoever asks again soon is a scraper with little patience.
    once, wait = Retry(NoBackoff(), 0), PATIENCE_SECONDS
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=wait, socket_connect_timeout=wait, retry=once)
