"""What a service token of ATProto says; nothing here asks anybody anything."""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from django.conf import settings

from catbird_mls.xrpc.errors import ExpiredToken, InvalidToken
from catbird_mls.xrpc.fields import DID_PATTERN

ES256, ES256K = "ES256", "ES256K"
TOKEN_MAX_LENGTH = 4096
CLOCK_LEEWAY_SECONDS = 30
# As long as a PDS lets the tokens live that clients ask it for; those it makes by itself live a minute.
LIFETIME_MAX_SECONDS = 3600
SERVICE_FRAGMENT = "#atproto_mls"
KEY_FRAGMENT = "#atproto"
S = TypeVar("S", bound=msgspec.Struct)


class Header(msgspec.Struct, frozen=True):
    alg: str
    typ: str | None = None
    kid: str | None = None
    crit: Any = msgspec.UNSET


class Claims(msgspec.Struct, frozen=True):
    """Times are in seconds since 1970."""

    iss: str
    aud: str
    exp: int
    lxm: str | None = None
    sub: str | None = None
    jti: str | None = None
    iat: int | None = None
    nbf: int | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token in its parts; whether it was signed by whom it names is another question."""

    header: Header
    claims: Claims
    signed: bytes
    signature: bytes


def stated_algorithm(text: str) -> str:
    """What a token says it was signed with, before anything of it is believed."""
    return _header(_parts(text)[0]).alg


def read_token(text: str) -> Token:
    """A compact JWS (RFC 7515) in its one canonical spelling."""
    header, claims, signature = _parts(text)
    return Token(
        header=_header(header),
        claims=_struct(claims, Claims),
        signed=f"{header}.{claims}".encode(),
        signature=_decoded(signature),
    )


def require_sound(token: Token, nsid: str) -> None:
    """All that can be judged without the issuer's key: form, who it is from and for, and when."""
    _require_kind(token.header, token.claims.iss)
    require_parties(token.claims.iss, token.claims.sub)
    if token.claims.aud not in audiences():
        raise InvalidToken("The token was issued for another service.")
    if token.claims.lxm != nsid:
        raise InvalidToken("The token was issued for another method, or does not say for which.")
    _require_time(token.claims)


def require_parties(issuer: object, subject: object) -> None:
    if not isinstance(issuer, str) or not DID_PATTERN.fullmatch(issuer):
        raise InvalidToken("The issuer of the token must be a bare DID.")
    if subject not in {None, issuer}:
        raise InvalidToken("The subject of the token must be its issuer or absent.")


def audiences() -> tuple[str, str]:
    """This server by its DID, or by the name its DID document gives the service."""
    return settings.SERVICE_DID, settings.SERVICE_DID + SERVICE_FRAGMENT


def decode_base64url(text: str) -> bytes:
    """Bytes of base64 without padding, stray letters or bits, so that each has one spelling; else ValueError."""
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise ValueError("not canonical base64url")
    return data


def _parts(text: str) -> list[str]:
    parts = text.split(".", 3)
    if len(text) > TOKEN_MAX_LENGTH or len(parts) != 3:
        raise InvalidToken("The token is not a compact JWS.")
    return parts


def _header(part: str) -> Header:
    return _struct(part, Header)


def _struct(part: str, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(_decoded(part), type=kind)
    except (msgspec.MsgspecError, ValueError):
        raise InvalidToken("The token lacks what a service token has.") from None


def _decoded(part: str) -> bytes:
    try:
        return decode_base64url(part)
    except ValueError:
        raise InvalidToken("The token is not a compact JWS.") from None


def _require_kind(header: Header, issuer: str) -> None:
    if header.alg not in {ES256, ES256K}:
        raise InvalidToken("The token must be signed with ES256 or ES256K.")
    # Tokens of OAuth are signed with the same keys and speak for their holder elsewhere.
    if header.typ is not None and header.typ.upper() != "JWT":
        raise InvalidToken("The token is of another type.")
    if header.kid not in {None, KEY_FRAGMENT, issuer + KEY_FRAGMENT}:
        raise InvalidToken("The token names another key than #atproto.")
    if header.crit is not msgspec.UNSET:
        raise InvalidToken("The token has critical extensions.")


def _require_time(claims: Claims) -> None:
    now = time.time()
    if claims.exp <= now - CLOCK_LEEWAY_SECONDS:
        raise ExpiredToken("The token has expired.")
    if claims.exp > now + LIFETIME_MAX_SECONDS + CLOCK_LEEWAY_SECONDS:
        raise InvalidToken("The token lives too long.")
    begins = max(moment for moment in (claims.iat, claims.nbf, 0) if moment is not None)
    if begins > min(now + CLOCK_LEEWAY_SECONDS, claims.exp):
        raise InvalidToken("The token is not valid yet.")
