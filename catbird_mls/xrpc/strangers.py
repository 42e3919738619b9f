"""Addresses from which tokens come that speak for nobody.

Counted in each process by itself: who is refused costs little, and the bus should not hear of every one.
Whoever shares an address with them still comes in with a sound token.
"""

import ipaddress

from django.conf import settings

from catbird_mls.xrpc.errors import RateLimitExceeded
from catbird_mls.xrpc.windows import Bucket, Charge, Windows

MINUTE_SECONDS = 60
# What one subscriber of IPv6 has at least.
NETWORK_BITS = 64

failures = Windows()


def count_failure(address: str | None) -> None:
    """One more refused token; RateLimitExceeded in its place when there were too many within a minute."""
    if address and settings.RATE_LIMIT_IP_PER_MINUTE:
        charge = failures.charge([_bucket(address)])
        if not charge.allowed:
            raise _refusal(charge)


def require_few_failures(address: str | None) -> None:
    """Asked before the network is, for an account that this server does not know."""
    if address and settings.RATE_LIMIT_IP_PER_MINUTE and not failures.has_room(_bucket(address)):
        raise _refusal(failures.charge([_bucket(address)]))


def _bucket(address: str) -> Bucket:
    return Bucket(_network(address), settings.RATE_LIMIT_IP_PER_MINUTE, MINUTE_SECONDS)


def _network(address: str) -> str:
    try:
        if ipaddress.ip_address(address).version == 6:
            return str(ipaddress.ip_network(f"{address}/{NETWORK_BITS}", strict=False))
    except ValueError:
        pass
    return address


def _refusal(charge: Charge) -> RateLimitExceeded:
    return RateLimitExceeded("Too many tokens from this address were refused.", retry_after=charge.retry_after)
