"""Documents from hosts that are slow, or lead somewhere else, or inside."""

import gzip
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.conf import LazySettings

from catbird_mls.xrpc import fetching, resolving
from catbird_mls.xrpc.auth import authenticate
from catbird_mls.xrpc.errors import InvalidToken, NotEnoughResources
from catbird_mls.xrpc.fetching import DOCUMENT_MAX_BYTES, is_public
from catbird_mls.xrpc.resolving import resolver
from tests.xrpc.identities import NSID, Account, Host, Hosts, admitted, refused, running, web_account

PATIENCE_SECONDS = 20


@pytest.mark.parametrize("status", [301, 302, 307, 308, 500, 503, 206])
def test_no_other_answer_is_followed_or_believed(hosts: Hosts, status: int) -> None:
    account = web_account(hosts.web)
    elsewhere = f"https://localhost:{hosts.web.port}/elsewhere"
    hosts.web.show("/elsewhere", account.document())
    hosts.web.show("/.well-known/did.json", account.document(), status=status, Location=elsewhere)
    with pytest.raises(NotEnoughResources):
        authenticate(account.bearer(), NSID, procedure=False)
    assert hosts.web.asked == ["/.well-known/did.json"]


def test_a_document_has_a_size(hosts: Hosts) -> None:
    account = web_account(hosts.web)
    document = json.dumps(account.document()).encode()
    hosts.web.show("/.well-known/did.json", document + b" " * (DOCUMENT_MAX_BYTES - len(document)))
    assert admitted(account)
    resolver.forget()
    other = web_account(hosts.web, path=":other")
    document = json.dumps(other.document()).encode()
    hosts.web.show("/other/did.json", document + b" " * (DOCUMENT_MAX_BYTES + 1 - len(document)))
    refused(other)


def test_a_compressed_document_is_not_unfolded(hosts: Hosts) -> None:
    account = web_account(hosts.web)
    body = gzip.compress(json.dumps(account.document()).encode())
    hosts.web.show("/.well-known/did.json", body, **{"Content-Encoding": "gzip"})
    refused(account)


def _drip_header(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(handler)


def _drip_body(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    _drip(handler)


def _drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, so that no single read ever waits for long."""
    for _ in range(200):
        time.sleep(0.05)
        try:
            handler.wfile.write(b"x")
            handler.wfile.flush()
        except OSError:
            return


@pytest.mark.parametrize("drip", [_drip_header, _drip_body])
def test_a_slow_host_is_left_alone(hosts: Hosts, monkeypatch: pytest.MonkeyPatch, drip: Any) -> None:
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 0.5)
    account = web_account(hosts.web)
    hosts.web.pages["/.well-known/did.json"] = drip
    began = time.monotonic()
    with pytest.raises(NotEnoughResources):
        authenticate(account.bearer(), NSID, procedure=False)
    assert time.monotonic() - began < 8


def test_slow_hosts_hold_up_only_so_many_callers(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 2.0)
    go_on = threading.Event()
    for number in range(8):
        hosts.web.pages[f"/{number}/did.json"] = lambda handler: _wait_for(go_on)
    strangers = [web_account(hosts.web, path=f":{number}") for number in range(8)]
    threads = [threading.Thread(target=_outcome, args=(account,)) for account in strangers]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(thread.is_alive() for thread in threads) > resolving.WEB_WAITERS:
        assert time.monotonic() < deadline, "more wait than may"
        time.sleep(0.02)
    alice = Account()
    hosts.directory.publish(alice)
    assert admitted(alice), "accounts of the directory do not wait behind them"
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(hosts.web.asked) <= resolving.WEB_WAITERS


def _wait_for(event: threading.Event) -> None:
    event.wait(PATIENCE_SECONDS)


def _outcome(account: Account) -> None:
    with pytest.raises((NotEnoughResources, InvalidToken)):
        authenticate(account.bearer(), NSID, procedure=False)


def test_a_host_has_to_prove_its_name(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address alone says nothing: the certificate is not for that."""
    account = web_account(hosts.web, name="127.0.0.1")
    hosts.web.publish(account)
    with pytest.raises(NotEnoughResources):
        authenticate(account.bearer(), NSID, procedure=False)
    monkeypatch.delenv("SSL_CERT_FILE")
    fetching._trust.cache_clear()
    unknown = web_account(hosts.web)
    hosts.web.publish(unknown)
    with pytest.raises(NotEnoughResources):
        authenticate(unknown.bearer(), NSID, procedure=False)
    assert hosts.web.asked == []


PRIVATE = [
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and who has connected to it."""
    heard: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            try:
                connection, who = server.accept()
            except TimeoutError:
                continue
            heard.append(str(who))
            connection.close()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield server.getsockname()[1], heard
    finally:
        done.set()
        thread.join()
        server.close()


# As a name server answers, and as the system reads what looks like a name.
INSIDE = ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0"]


@pytest.mark.parametrize("name", INSIDE)
def test_nothing_inside_is_connected_to(settings: LazySettings, name: str) -> None:
    with listening() as (port, heard):
        account = Account(did=f"did:web:{name}%3A{port}")
        refused(account)
        settings.CATBIRD_ALLOW_PRIVATE_ADDRESSES = True
        resolver.forget()
        with pytest.raises(NotEnoughResources):
            authenticate(account.bearer(), NSID, procedure=False)
    assert len(heard) == 1, "it would have been, had it been allowed"


def names_answer(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Hold the name server: one answer after the other for names, addresses as they are."""
    real, left, asked = socket.getaddrinfo, list(answers), []

    def answer(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        if text.replace(".", "").isdigit():
            return real(host, port, *args, **more)
        asked.append(text)
        return [found for address in left.pop(0) for found in real(address, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


@pytest.mark.parametrize("address", ["169.254.169.254", "10.1.2.3", "::1", "fe80::1", "::ffff:127.0.0.1"])
def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    asked = names_answer(monkeypatch, [address])
    refused(Account(did="did:web:host.example"))
    assert asked == ["host.example"]


def test_a_name_that_leads_inside_and_outside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (port, heard):
        names_answer(monkeypatch, ["192.0.2.1", "127.0.0.1"], ["8.8.8.8", "127.0.0.1"])
        refused(Account(did=f"did:web:host.example%3A{port}"))
        refused(Account(did=f"did:web:other.example%3A{port}"))
    assert heard == []


def test_the_address_looked_at_is_the_one_connected_to(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means something else a moment later is asked only once."""
    asked = names_answer(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    account = web_account(hosts.web, name="host.example")
    hosts.web.publish(account)
    assert admitted(account)
    assert asked == ["host.example"]


def test_a_proxy_of_this_machine_is_not_used(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(Host()) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for account in (web_account(hosts.web), Account()):
            (hosts.web if "web" in account.did else hosts.directory).publish(account)
            assert admitted(account)
        assert proxy.asked == []
