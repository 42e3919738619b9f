import hashlib
import hmac
import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Protocol

TOKEN_LIFETIME_SECONDS = 60


class Auth(Protocol):
    """Who is calling, and how a call proves it."""

    @property
    def did(self) -> str: ...

    async def token(self, nsid: str) -> str:
        """A bearer token for one attempt to call ``nsid``; it is good for no second procedure."""
        ...


class DevAuth:
    """Tokens signed with a secret shared with a development server; servers in production refuse them."""

    def __init__(
        self, did: str, secret: str, audience: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._did = did
        self._secret = secret.encode()
        self._audience = audience
        self._clock = clock

    @property
    def did(self) -> str:
        return self._did

    async def token(self, nsid: str) -> str:
        issued_at = int(self._clock())
        claims = {
            "iss": self._did,
            "aud": self._audience,
            "iat": issued_at,
            "exp": issued_at + TOKEN_LIFETIME_SECONDS,
            "lxm": nsid,
            "jti": str(uuid.uuid4()),
        }
        return sign_hs256(claims, self._secret)


def sign_hs256(claims: Mapping[str, object], secret: bytes) -> str:
    """A compact JWS (RFC 7515) with HMAC-SHA-256."""
    header = {"alg": "HS256", "typ": "JWT"}
    signing_input = f"{_segment(header)}.{_segment(claims)}"
    signature = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{_base64url(signature)}"


def _segment(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
