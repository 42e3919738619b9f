"""Accounts with keys of their own, and hosts on real sockets that answer for them."""

import base64
import json
import secrets
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import base58
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from django.conf import settings

from catbird_mls.xrpc import fetching
from catbird_mls.xrpc.auth import authenticate
from catbird_mls.xrpc.errors import InvalidToken
from catbird_mls.xrpc.keys import ORDERS, PREFIXES

ES256, ES256K = "ES256", "ES256K"
CURVES = {ES256: ec.SECP256R1(), ES256K: ec.SECP256K1()}
NSID = "blue.catbird.mls.getConvos"
COMPRESSED = (serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
WHOLE = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
NAMES = ("localhost", "host.example")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def plc_did() -> str:
    return "did:plc:" + base64.b32encode(secrets.token_bytes(15)).decode().lower()


@dataclass
class Account:
    """One that signs its own tokens, as a PDS does for it."""

    algorithm: str = ES256K
    did: str = field(default_factory=plc_did)
    key: ec.EllipticCurvePrivateKey = field(init=False)

    def __post_init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        self.key = ec.generate_private_key(CURVES[self.algorithm])

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(*COMPRESSED)

    def document(self, **changes: Any) -> dict[str, Any]:
        method = {"id": f"{self.did}#atproto", "controller": self.did} | self.multikey() | changes
        return {"id": self.did, "verificationMethod": [method]}

    def multikey(self) -> dict[str, Any]:
        data = PREFIXES[self.algorithm] + self.point
        return {"type": "Multikey", "publicKeyMultibase": "z" + base58.b58encode(data).decode()}

    def legacy(self) -> dict[str, Any]:
        kind = {ES256: "EcdsaSecp256r1VerificationKey2019", ES256K: "EcdsaSecp256k1VerificationKey2019"}
        whole = self.key.public_key().public_bytes(*WHOLE)
        return {"type": kind[self.algorithm], "publicKeyMultibase": "z" + base58.b58encode(whole).decode()}

    def jwk(self) -> dict[str, Any]:
        whole = self.key.public_key().public_bytes(*WHOLE)
        curve = {ES256: "P-256", ES256K: "secp256k1"}[self.algorithm]
        given = {"kty": "EC", "crv": curve, "x": base64url(whole[1:33]), "y": base64url(whole[33:])}
        return {"type": "JsonWebKey2020", "publicKeyJwk": given}

    def signature(self, signed: bytes, *, high: bool = False) -> bytes:
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
        order = ORDERS[self.algorithm]
        if (s > order // 2) != high:
            s = order - s
        return r.to_bytes(32) + s.to_bytes(32)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": self.did, "aud": settings.SERVICE_DID, "iat": now, "exp": now + 60, "lxm": NSID}
        claims |= {"jti": secrets.token_hex(16)} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, header: dict[str, Any] | None = None, high: bool = False, **changes: Any) -> str:
        """As a PDS makes it, but for what is changed; None leaves a claim out."""
        stated = {"typ": "JWT", "alg": self.algorithm} | (header or {})
        given = {name: value for name, value in stated.items() if value is not None}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (given, self.claims(**changes)))
        return f"{signed}.{base64url(self.signature(signed.encode(), high=high))}"

    def bearer(self, **changes: Any) -> str:
        return "Bearer " + self.token(**changes)


Page = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Host:
    """A web server with pages of ours; what it does not know is 404."""

    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)
    certificate: Path | None = None

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def show(self, path: str, body: Any, *, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        def page(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

        self.pages[path] = page

    def publish(self, account: Account, **changes: Any) -> None:
        """In the directory, or where ``did:web`` has it."""
        path = f"/{account.did}"
        if account.did.startswith("did:web:"):
            _, _, inner = account.did.removeprefix("did:web:").partition(":")
            path = f"/{inner.replace(':', '/') or '.well-known'}/did.json"
        self.show(path, account.document(**changes))

    def be_trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(self.certificate))
        fetching._trust.cache_clear()


def web_account(host: Host, *, name: str = "localhost", path: str = "") -> Account:
    return Account(did=f"did:web:{name}%3A{host.port}{path}")


def refused(account: Account) -> pytest.ExceptionInfo[InvalidToken]:
    with pytest.raises(InvalidToken) as refusal:
        authenticate(account.bearer(), NSID, procedure=False)
    return refusal


def admitted(account: Account) -> bool:
    return authenticate(account.bearer(), NSID, procedure=False).did == account.did


@dataclass
class Hosts:
    directory: Host
    web: Host


@contextmanager
def hosts_running() -> Iterator[Hosts]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Host()) as directory,
        running(Host(certificate=self_signed(Path(folder)))) as web,
    ):
        yield Hosts(directory, web)
    fetching._trust.cache_clear()


@contextmanager
def running(host: Host) -> Iterator[Host]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            host.asked.append(self.path)
            host.pages.get(self.path, _not_found)(self)

        def log_message(self, *_: Any) -> None:
            pass

    host.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if host.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(host.certificate)
        host.server.socket = context.wrap_socket(host.server.socket, server_side=True)
    host.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients of these tests hang up
    thread = Thread(target=host.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield host
    finally:
        host.server.shutdown()
        thread.join()
        host.server.server_close()


def _not_found(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def self_signed(folder: Path) -> Path:
    """A certificate for ``NAMES`` and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hosts of the tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "host.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return file
