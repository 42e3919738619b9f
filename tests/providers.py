"""Apple's and Google's push services as far as this server speaks to them, on real sockets of this machine."""

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.test import override_settings
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from delivery import push
from delivery.providers import Outcome

KEY_ID, TEAM_ID, TOPIC = "ABC123DEFG", "DEF123GHIJ", "blue.catbird"
PROJECT, EMAIL = "catbird-test", "pusher@catbird-test.invalid"
TOKEN_AGE_MAX_SECONDS = 3600
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Push:
    """What came in over the wire."""

    token: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """What the service says; without a status it says nothing, and ``hang_up`` ends the connection."""

    status: int | None = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_up: bool = False


OK = Reply()
HANG_UP = Reply(None, hang_up=True)
SILENCE = Reply(None)


class Service:
    """Remembers what was pushed and answers as the test wishes, once what is asked of it is in order."""

    platforms: tuple[str, ...]

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.replies: list[Reply] = []
        self.reply = OK
        self.arrived = threading.Semaphore(0)
        self._lock = threading.Lock()

    @property
    def tokens(self) -> list[str]:
        return [push.token for push in self.pushes]

    def take(self, push: Push) -> Reply:
        with self._lock:
            self.pushes.append(push)
            reply = self.replies.pop(0) if self.replies else self.reply
        self.arrived.release()
        return reply


class Apple(Service):
    """HTTP/2 over TLS; refuses provider tokens that Apple would refuse."""

    platforms = ("ios",)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.key_file = folder / "key.p8"
        self.key_file.write_bytes(pem(self.key))
        self.bearers: set[str] = set()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate(folder))
        self._tls.set_alpn_protocols(["h2"])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "CATBIRD_APNS_URL": f"https://127.0.0.1:{self._listener.getsockname()[1]}",
            "CATBIRD_APNS_KEY_FILE": str(self.key_file),
            "CATBIRD_APNS_KEY_ID": KEY_ID,
            "CATBIRD_APNS_TEAM_ID": TEAM_ID,
            "CATBIRD_APNS_TOPIC": TOPIC,
        }

    def stop(self) -> None:
        # Shut down first, or the thread that accepts would hold on to it.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self._open.append(plain)
                self.connections += 1
                threading.Thread(target=self._serve, args=[plain], daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError, ProtocolError), self._tls.wrap_socket(plain, server_side=True) as wire:
            self._open.append(wire)
            self._converse(wire)

    def _converse(self, wire: ssl.SSLSocket) -> None:
        http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        http.initiate_connection()
        asked: dict[int, tuple[dict[str, str], bytearray]] = {}
        wire.sendall(http.data_to_send())
        while data := wire.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = (dict(event.headers), bytearray())
                elif isinstance(event, DataReceived):
                    asked[event.stream_id][1].extend(event.data)
                    http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    reply = self._answer(*asked.pop(event.stream_id))
                    if reply.hang_up:
                        return
                    _send(http, event.stream_id, reply)
            wire.sendall(http.data_to_send())

    def _answer(self, headers: dict[str, str], body: bytearray) -> Reply:
        if not self._may(headers.get("authorization", "")):
            return Reply(403, {"reason": "InvalidProviderToken"})
        if headers[":method"] != "POST" or not headers[":path"].startswith("/3/device/"):
            return Reply(404, {"reason": "BadPath"})
        if headers.get("apns-topic") != TOPIC:
            return Reply(400, {"reason": "TopicDisallowed"})
        token = headers[":path"].removeprefix("/3/device/")
        return self.take(Push(token, headers, json.loads(bytes(body))))

    def _may(self, authorization: str) -> bool:
        scheme, _, bearer = authorization.partition(" ")
        try:
            claims = jwt.decode(
                bearer, self.key.public_key(), algorithms=["ES256"], options={"require": ["iss", "iat"]}
            )
            kid = jwt.get_unverified_header(bearer)["kid"]
        except jwt.PyJWTError:
            return False
        self.bearers.add(bearer)
        fresh = 0 <= time.time() - claims["iat"] + 1 < TOKEN_AGE_MAX_SECONDS
        return scheme == "bearer" and fresh and (claims.keys(), claims["iss"], kid) == ({"iss", "iat"}, TEAM_ID, KEY_ID)


def _send(http: H2Connection, stream_id: int, reply: Reply) -> None:
    if reply.status is None:
        return
    body = b"" if reply.body is None else json.dumps(reply.body).encode()
    http.send_headers(stream_id, [(":status", str(reply.status)), *reply.headers.items()], end_stream=not body)
    if body:
        http.send_data(stream_id, body, end_stream=True)


class Google(Service):
    """Gives access tokens for assertions that are in order, and takes messages that bring one."""

    platforms = ("android", "web")

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.granted: list[str] = []
        self.lifetime_seconds = 3600
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                reply = service._answer(self.path, self.headers, body)
                if reply.status is None:
                    self.close_connection = True
                    return
                said = json.dumps(reply.body or {}).encode()
                self.send_response(reply.status)
                for name, value in {**reply.headers, "content-length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                """Nothing needs to be said of it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.account_file = folder / "account.json"
        self.account_file.write_text(json.dumps(self._account()))

    @property
    def settings(self) -> dict[str, Any]:
        return {"CATBIRD_FCM_URL": self.url, "CATBIRD_FCM_SERVICE_ACCOUNT_FILE": str(self.account_file)}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _account(self) -> dict[str, str]:
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "k1",
            "private_key": pem(self.key).decode(),
            "client_email": EMAIL,
            "token_uri": f"{self.url}/token",
        }

    def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if path == "/token":
            return self._grant(parse_qs(body.decode()))
        if path != f"/v1/projects/{PROJECT}/messages:send":
            return Reply(404, {"error": {"status": "NOT_FOUND"}})
        if headers.get("authorization") not in {f"Bearer {token}" for token in self.granted}:
            return Reply(401, {"error": {"status": "UNAUTHENTICATED"}})
        message = json.loads(body)
        return self.take(Push(message["message"]["token"], dict(headers), message))

    def _grant(self, form: Mapping[str, list[str]]) -> Reply:
        options: Any = {"require": ["exp", "iat", "iss", "scope"]}
        try:
            claims = jwt.decode(
                form["assertion"][0],
                self.key.public_key(),
                algorithms=["RS256"],
                audience=f"{self.url}/token",
                options=options,
            )
        except jwt.PyJWTError:
            return Reply(400, {"error": "invalid_grant"})
        right = claims["iss"] == EMAIL and claims["scope"].endswith("/auth/firebase.messaging")
        if not right or form["grant_type"] != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return Reply(400, {"error": "invalid_grant"})
        self.granted.append(f"granted-{len(self.granted)}")
        return Reply(
            200, {"access_token": self.granted[-1], "expires_in": self.lifetime_seconds, "token_type": "Bearer"}
        )


@contextmanager
def running(kind: Callable[[Path], Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One of the services, and a server that is configured to push to it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(folder)))
    service = kind(folder)
    platforms = [*settings.PUSH_PLATFORMS, *service.platforms]
    with override_settings(**service.settings, PUSH_PLATFORMS=platforms):
        try:
            yield service
        finally:
            end(push.provider_of(service.platforms[0]))
            (push._apns if kind is Apple else push._fcm).cache_clear()
            service.stop()


def send(provider: Any, token: str, *, quiet: bool = False) -> Outcome:
    return send_all(provider, [token], quiet=quiet)[0]


def send_all(provider: Any, tokens: Sequence[str], *, quiet: bool = False) -> list[Outcome]:
    """All at once, where the server itself does it."""
    sent = [asyncio.run_coroutine_threadsafe(provider.send(token, quiet=quiet), push._loop()) for token in tokens]
    return [one.result(PATIENCE_SECONDS) for one in sent]


def end(provider: Any) -> None:
    asyncio.run_coroutine_threadsafe(provider.client.aclose(), push._loop()).result(PATIENCE_SECONDS)


def pem(key: Any) -> bytes:
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate for this machine, signed by itself."""
    file = folder / "certificate.pem"
    if file.exists():
        return file
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a push service for tests")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(pem(key) + made.public_bytes(serialization.Encoding.PEM))
    return file
