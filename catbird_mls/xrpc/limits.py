"""How often an account may call: a bucket for each device and method, counted on the bus for all processes.

A window begins with the first call in it. While the bus is down each process counts by itself.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from catbird_mls.xrpc import bus
from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.errors import RateLimitExceeded
from catbird_mls.xrpc.windows import Bucket, Charge, Windows

MINUTE_SECONDS, HOUR_SECONDS = 60, 3600
# An account has so many devices; a caller can make up names for more.
DEVICES_MAX = 10
DEVICE_FIELDS = ("deviceId", "deviceUUID", "deviceUuid")
ITEMS_FIELD = "keyPackages"

PER_MINUTE = {
    "sendMessage": "RATE_LIMIT_SEND_MESSAGE",
    "publishKeyPackage": "RATE_LIMIT_PUBLISH_KEY_PACKAGE",
    "publishKeyPackages": "RATE_LIMIT_PUBLISH_KEY_PACKAGE",
    "addMembers": "RATE_LIMIT_ADD_MEMBERS",
    "removeMember": "RATE_LIMIT_ADD_MEMBERS",
    "createConvo": "RATE_LIMIT_CREATE_CONVO",
    "reportMember": "RATE_LIMIT_REPORT_MEMBER",
}
PUBLISHING = frozenset({"publishKeyPackage", "publishKeyPackages", "registerDevice"})
# What a device calls that has lost its state. It may be all that works, so nothing else may use it up.
RECOVERING = frozenset(
    {
        "getGroupInfo",
        "processExternalCommit",
        "readdition",
        "rejoin",
        "requestRejoin",
        "groupInfoRefresh",
        "getExpectedConversations",
        "validateDeviceState",
        "invalidateWelcome",
    }
)

# Takes from all buckets, or, when one has no room, from none; says which one, how full it is and for how long.
CHARGE = """
for place, key in ipairs(KEYS) do
  local used = tonumber(redis.call('GET', key) or '0')
  if used + ARGV[3 * place] > tonumber(ARGV[3 * place - 2]) then
    return {place, used, redis.call('PTTL', key)}
  end
end
local first
for place, key in ipairs(KEYS) do
  local used = redis.call('INCRBY', key, ARGV[3 * place])
  if used == tonumber(ARGV[3 * place]) then
    redis.call('PEXPIRE', key, ARGV[3 * place - 1])
  end
  first = first or used
end
return {0, first, redis.call('PTTL', KEYS[1])}
"""

own = Windows()
floods = Windows()


@dataclass(frozen=True, slots=True)
class LimitState:
    """What is left for the caller; ``reset`` is in seconds since 1970. No limit at all is a limit of 0."""

    limit: int = 0
    remaining: int = 0
    reset: int = 0
    seconds: int = 0

    @property
    def headers(self) -> dict[str, str]:
        if not self.limit:
            return {}
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
            "RateLimit-Policy": f"{self.limit};w={self.seconds}",
        }


UNLIMITED = LimitState()


def require_allowed(caller: Caller, nsid: str, *, device: str | None = None, items: int = 1) -> LimitState:
    """One more call of this method by this device, with so many packages; or RateLimitExceeded, and nothing is counted.

    The device is whatever the caller calls itself: all its names together have ten times as much.
    """
    buckets = _buckets(caller.did, nsid, device, items)
    if not buckets:
        return UNLIMITED
    try:
        charge = _charge(buckets, bus.ask(*_command(buckets)))
    except bus.BusDown:
        charge = own.charge(buckets)
    return _state(charge)


async def require_allowed_soon(caller: Caller, nsid: str, *, device: str | None = None, items: int = 1) -> LimitState:
    """The same without holding up the event loop."""
    buckets = _buckets(caller.did, nsid, device, items)
    if not buckets:
        return UNLIMITED
    try:
        charge = _charge(buckets, await bus.ask_soon(*_command(buckets)))
    except bus.BusDown:
        charge = own.charge(buckets)
    return _state(charge)


def named_device(given: Mapping[str, Any]) -> str | None:
    """The device an input names, under whichever name its vintage has for it."""
    named = (given.get(name) for name in DEVICE_FIELDS)
    return next((device for device in named if isinstance(device, str) and device), None)


def named_items(given: Mapping[str, Any]) -> int:
    """How many packages an input brings; one where it does not bring a list of them."""
    items = given.get(ITEMS_FIELD)
    return len(items) if isinstance(items, list) else 1


def forget() -> None:
    own.clear()
    floods.clear()


def _buckets(did: str, nsid: str, device: str | None, items: int) -> list[Bucket]:
    method = nsid.rpartition(".")[2]
    _require_no_flood(did, method)
    found = _both(did, device, method, getattr(settings, PER_MINUTE.get(method, "RATE_LIMIT_DID_DEFAULT")), 1)
    if method in PUBLISHING and items:
        found += _both(did, device, "items", settings.RATE_LIMIT_KEY_PACKAGE_ITEMS, items)
    return found


def _both(did: str, device: str | None, what: str, limit: int, cost: int) -> list[Bucket]:
    """A device's bucket, and one for all devices that the account names."""
    seconds = HOUR_SECONDS if what == "items" else MINUTE_SECONDS
    # One hash slot an account, so that one script may touch all of them.
    name = f"catbird:limit:{{{did}}}:{what}"
    if not limit:
        return []
    if device is None:
        return [Bucket(name, limit, seconds, cost)]
    digest = hashlib.sha256(device.encode()).hexdigest()[:16]
    return [
        Bucket(f"{name}:{digest}", limit, seconds, cost),
        Bucket(f"{name}:devices", limit * DEVICES_MAX, seconds, cost),
    ]


def _require_no_flood(did: str, method: str) -> None:
    """What one account may ask of one process in a second; recovering is counted by itself."""
    limit = settings.AUTH_RATE_LIMIT_PER_SECOND
    if not limit:
        return
    charge = floods.charge([Bucket(f"{did} {method in RECOVERING}", limit, 1)])
    if not charge.allowed:
        raise _refusal(charge)


def _command(buckets: list[Bucket]) -> tuple[Any, ...]:
    numbers = [number for bucket in buckets for number in (bucket.limit, 1000 * bucket.seconds, bucket.cost)]
    return "EVAL", CHARGE, len(buckets), *(bucket.key for bucket in buckets), *numbers


def _charge(buckets: list[Bucket], answer: Any) -> Charge:
    refused, used, milliseconds = map(int, answer)
    return Charge(buckets[max(0, refused - 1)], used, milliseconds / 1000, allowed=refused == 0)


def _state(charge: Charge) -> LimitState:
    if not charge.allowed:
        raise _refusal(charge)
    return _left(charge)


def _left(charge: Charge) -> LimitState:
    return LimitState(
        limit=charge.bucket.limit,
        remaining=max(0, charge.bucket.limit - charge.used),
        reset=int(time.time()) + charge.retry_after,
        seconds=charge.bucket.seconds,
    )


def _refusal(charge: Charge) -> RateLimitExceeded:
    return RateLimitExceeded(
        "Too many requests.",
        retry_after=charge.retry_after,
        limits={**_left(charge).headers, "RateLimit-Remaining": "0"},
    )
