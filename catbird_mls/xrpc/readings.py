"""Numbers one process works out for the whole service, kept on the bus for whoever is asked for them.

A job of each app reads them from the database, in whatever process or container; ``/metrics`` shows the last
ones with their age. Those of an app are all replaced together, and forgotten when nothing has replaced them for
a day.
"""

import time
from typing import Literal, get_args

import msgspec
import redis

from catbird_mls.xrpc.bus import impatient_bus

KEY = "catbird:readings"
KEPT_SECONDS = 86_400

App = Literal["keypackages", "delivery"]


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


def keep_readings(readings: list[Reading], *, of: App = "keypackages") -> None:
    """From now on these are shown, and no earlier ones of the app."""
    with _bus() as bus:
        bus.set(f"{KEY}:{of}", msgspec.json.encode(Kept(time.time(), readings)), ex=KEPT_SECONDS)


def kept_readings() -> Kept | None:
    """The last readings of all apps, as old as the oldest of them.

    None when there are none, when the bus is down, or when another version wrote them.
    """
    try:
        with _bus() as bus:
            texts = bus.mget([f"{KEY}:{app}" for app in get_args(App)])
        kept = [msgspec.json.decode(text, type=Kept) for text in texts if text is not None]
    except (redis.RedisError, msgspec.MsgspecError):
        return None
    if not kept:
        return None
    return Kept(min(one.at for one in kept), [reading for one in kept for reading in one.readings])


_bus = impatient_bus
