"""From a bearer token to the account it speaks for; nothing behind this module knows how it was proven."""

import time
from dataclasses import dataclass

import jwt
from django.conf import settings

from catbird_mls.xrpc.errors import AuthenticationRequired, ExpiredToken, InvalidToken
from catbird_mls.xrpc.fields import DID_PATTERN

DEVELOPMENT_ALGORITHM = "HS256"
CLOCK_LEEWAY_SECONDS = 30
SERVICE_FRAGMENT = "#atproto_mls"
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified token speaks for: one account, by its bare DID."""

    did: str


def authenticate(header: str | None, nsid: str) -> Caller:
    """The caller of ``nsid``, or a 401 that names what is wrong with the token."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthenticationRequired("A bearer token is required.")
    return Caller(did=_issuer(_claims(token.strip()), nsid))


def mint_development_token(did: str, *, nsid: str | None = None, lifetime_seconds: int = DAY_SECONDS) -> str:
    """A token that this deployment accepts while JWT_SECRET is set."""
    now = int(time.time())
    claims: dict[str, str | int] = {"iss": did, "aud": settings.SERVICE_DID, "iat": now, "exp": now + lifetime_seconds}
    if nsid:
        claims["lxm"] = nsid
    return jwt.encode(claims, settings.JWT_SECRET, algorithm=DEVELOPMENT_ALGORITHM)


def _claims(token: str) -> dict[str, object]:
    if not settings.JWT_SECRET:
        raise InvalidToken("Development tokens are not accepted here.")
    try:
        claims: dict[str, object] = jwt.decode(
            token,
            settings.JWT_SECRET,
            algorithms=[DEVELOPMENT_ALGORITHM],
            audience=[settings.SERVICE_DID, settings.SERVICE_DID + SERVICE_FRAGMENT],
            leeway=CLOCK_LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise ExpiredToken("The token has expired.") from None
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidToken("The token is not valid for this service.") from None
    return claims


def _issuer(claims: dict[str, object], nsid: str) -> str:
    if claims.get("lxm", nsid) != nsid:
        raise InvalidToken("The token was issued for another method.")
    issuer = claims["iss"]
    if not isinstance(issuer, str) or not DID_PATTERN.fullmatch(issuer):
        raise InvalidToken("The issuer of the token must be a bare DID.")
    if claims.get("sub", issuer) != issuer:
        raise InvalidToken("The subject of the token must be its issuer or absent.")
    return issuer
