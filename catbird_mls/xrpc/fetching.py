"""Documents from hosts that strangers name: only from public addresses, of bounded size, in bounded time.

The address that was looked at is the one that is connected to, whatever the name means a moment later.
Redirects are not followed, and neither proxies nor passwords of this machine are used.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import urlsplit

import httpx
from django.conf import settings

DOCUMENT_MAX_BYTES = 64 * 1024
PATIENCE_SECONDS = 5.0
NAME_THREADS = 4
# Compressed, a small answer could be a large document.
HEADERS = {"Accept": "application/did+ld+json, application/json", "Accept-Encoding": "identity"}
GONE = frozenset({404, 410})

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
UNICAST = ipaddress.IPv6Network("2000::/3")
# Relays, documentation, protocol assignments: Python's list differs from version to version.
RESERVED = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2002::/16", "3fff::/20")))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Missing(Exception):
    """There is no such document, or none that may be read."""


class Unreachable(Exception):
    """Whether there is one cannot be said at the moment."""


async def fetch_from_stranger(url: str) -> bytes:
    """A document of whatever host the URL names, which has to prove by TLS that it is that host."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    # A connection used again would carry questions for another host to this one.
    alone = httpx.Limits(max_keepalive_connections=0)
    async with _in_time(), httpx.AsyncClient(verify=_trust(), trust_env=False, limits=alone) as client:
        address = await _public_address(host, port)
        at = f"[{address}]" if address.version == 6 else str(address)
        request = client.build_request(
            "GET",
            f"https://{at}:{port}{parts.path}",
            headers={**HEADERS, "Host": parts.netloc},
            extensions={"sni_hostname": host},
        )
        return await _document(client, request)


async def fetch_from_directory(url: str) -> bytes:
    """A document of the host that the operator named, wherever that is; always called in one event loop."""
    async with _in_time():
        return await _document(_directory(), _directory().build_request("GET", url, headers=HEADERS))


def is_public(address: Address) -> bool:
    """Whether it is one of the internet's; an IPv4 address inside another one counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in UNICAST:
            return False
    if any(address in network for network in RESERVED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def _public_address(host: str, port: int) -> Address:
    """The first one the name has, if it has none that is not public: such a name is up to no good."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_names(), lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    # A link-local address comes with its interface behind a percent sign.
    addresses = [ipaddress.ip_address(str(where[4][0]).partition("%")[0]) for where in found]
    if not settings.CATBIRD_ALLOW_PRIVATE_ADDRESSES and not all(map(is_public, addresses)):
        raise Missing("not a public address")
    return addresses[0]


async def _document(client: httpx.AsyncClient, request: httpx.Request) -> bytes:
    response = await client.send(request, stream=True, follow_redirects=False)
    try:
        if response.status_code in GONE:
            raise Missing("no such document")
        if response.status_code != httpx.codes.OK:
            raise Unreachable(f"status {response.status_code}")
        return await _body(response)
    finally:
        await response.aclose()


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > DOCUMENT_MAX_BYTES:
            raise Missing("too large a document")
    return bytes(body)


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """All of it together, from the name to the last byte, and every failure of the network by one name."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (TimeoutError, OSError, httpx.HTTPError) as error:
        raise Unreachable(type(error).__name__) from None


@cache
def _trust() -> ssl.SSLContext:
    # Without proxies, but with the SSL_CERT_FILE of an operator who has an authority of his own.
    return httpx.create_ssl_context()


@cache
def _directory() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_trust(), trust_env=False, timeout=PATIENCE_SECONDS)


@cache
def _names() -> ThreadPoolExecutor:
    # Threads of their own, because a name server that does not answer holds each up for long.
    return ThreadPoolExecutor(NAME_THREADS, thread_name_prefix="names")
