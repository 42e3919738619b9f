import asyncio
import base64
import hashlib
import hmac
import json

from catbird import DevAuth
from catbird.auth import sign_hs256


def part(token: str, index: int) -> bytes:
    segment = token.split(".")[index]
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def test_a_token_is_for_one_method_of_one_service_and_soon_over() -> None:
    auth = DevAuth("did:plc:alice", "secret", "did:web:localhost", clock=lambda: 1000.9)
    token = asyncio.run(auth.token("blue.catbird.mls.getEpoch"))
    claims = json.loads(part(token, 1))
    assert json.loads(part(token, 0)) == {"alg": "HS256", "typ": "JWT"}
    assert len(claims.pop("jti")) == 36
    assert claims == {
        "iss": "did:plc:alice",
        "aud": "did:web:localhost",
        "iat": 1000,
        "exp": 1060,
        "lxm": "blue.catbird.mls.getEpoch",
    }


def test_the_signature_is_over_the_first_two_segments() -> None:
    token = sign_hs256({"iss": "x"}, b"key")
    signed = token.rpartition(".")[0].encode()
    assert part(token, 2) == hmac.new(b"key", signed, hashlib.sha256).digest()
    assert "=" not in token


def test_no_two_tokens_are_the_same() -> None:
    auth = DevAuth("did:plc:alice", "secret", "did:web:localhost", clock=lambda: 0)
    assert asyncio.run(auth.token("x")) != asyncio.run(auth.token("x"))
