"""From a bearer token to the account it speaks for; nothing behind this module knows how it was proven."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import jwt
from django.conf import settings

from catbird_mls.xrpc.errors import AuthenticationRequired, ExpiredToken, InvalidToken, NotEnoughResources
from catbird_mls.xrpc.fetching import Missing, Unreachable
from catbird_mls.xrpc.keys import SigningKey
from catbird_mls.xrpc.replay import require_first_use, require_first_use_soon
from catbird_mls.xrpc.resolving import resolver
from catbird_mls.xrpc.strangers import count_failure, require_few_failures
from catbird_mls.xrpc.tokens import (
    CLOCK_LEEWAY_SECONDS,
    Token,
    audiences,
    read_token,
    require_parties,
    require_sound,
    stated_algorithm,
)

DEVELOPMENT_ALGORITHM = "HS256"
DAY_SECONDS = 86_400
PROVEN_MAX = 20_000
# After that a token is looked at again, in case its account has got another key.
PROVEN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified token speaks for: one account, by its bare DID."""

    did: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What a sound and signed token says: for whom it speaks, until when, and its id."""

    did: str
    until: float
    jti: str | None


# The key of a DID as far as it is known, or, for a signature that it does not fit, as it is by now.
KeyOf = Callable[[str, bool], SigningKey | None]


class MustAsk(Exception):
    """Only the network knows."""


_proven: dict[tuple[bytes, str], tuple[Caller, float]] = {}
_lock = Lock()


def authenticate(header: str | None, nsid: str, *, procedure: bool, address: str | None = None) -> Caller:
    """The caller of ``nsid``, or a 401 that names what is wrong with the token.

    A procedure spends the token's id; a query may come with the same token again until that expires. May ask the
    network for the account's key. An address from which too many tokens were refused is told so.
    """
    known = cached_caller(header, nsid)
    if known is not None:
        return known
    with _counted(address):
        proof = _proof(_bearer(header), nsid, procedure=procedure, key_of=partial(_key, address=address))
        if procedure and proof.jti is not None:
            require_first_use(proof.did, proof.jti, until=proof.until)
    return _admitted(header, nsid, proof, procedure=procedure)


async def authenticate_soon(header: str | None, nsid: str, *, procedure: bool, address: str | None = None) -> Caller:
    """The same without holding up the event loop; what has to ask the network waits in a thread."""
    known = cached_caller(header, nsid)
    if known is not None:
        return known
    with _counted(address):
        text = _bearer(header)
        try:
            proof = _proof(text, nsid, procedure=procedure, key_of=_known_key)
        except MustAsk:
            key_of = partial(_key, address=address)
            proof = await asyncio.to_thread(_proof, text, nsid, procedure=procedure, key_of=key_of)
        if procedure and proof.jti is not None:
            await require_first_use_soon(proof.did, proof.jti, until=proof.until)
    return _admitted(header, nsid, proof, procedure=procedure)


def cached_caller(header: str | None, nsid: str) -> Caller | None:
    """The caller when the same token was proven for the same method a while ago; None says nothing about it.

    Looks nothing up and never finds a token that counts only once.
    """
    if header is None:
        return None
    found = _proven.get((_digest(header), nsid))
    return found[0] if found is not None and time.time() < found[1] else None


def mint_development_token(did: str, *, nsid: str | None = None, lifetime_seconds: int = DAY_SECONDS) -> str:
    """A token that this deployment accepts while JWT_SECRET is set."""
    now = int(time.time())
    claims: dict[str, str | int] = {"iss": did, "aud": settings.SERVICE_DID, "iat": now, "exp": now + lifetime_seconds}
    if nsid:
        claims["lxm"] = nsid
    return jwt.encode(claims, settings.JWT_SECRET, algorithm=DEVELOPMENT_ALGORITHM)


def forget() -> None:
    with _lock:
        _proven.clear()


def _bearer(header: str | None) -> str:
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthenticationRequired("A bearer token is required.")
    return token.strip()


def _proof(text: str, nsid: str, *, procedure: bool, key_of: KeyOf) -> Proof:
    if stated_algorithm(text) == DEVELOPMENT_ALGORITHM:
        return _development_proof(text, nsid)
    token = read_token(text)
    require_sound(token, nsid)
    if procedure and not token.claims.jti:
        raise InvalidToken("A procedure is called with a token that has an id.")
    _require_signed(token, key_of)
    return Proof(token.claims.iss, token.claims.exp + CLOCK_LEEWAY_SECONDS, token.claims.jti)


def _require_signed(token: Token, key_of: KeyOf) -> None:
    """By the key of the issuer as it is known here, or else as it is by now."""
    for in_doubt in (False, True):
        key = key_of(token.claims.iss, in_doubt)
        if key is not None and key.algorithm == token.header.alg and key.verifies(token.signature, token.signed):
            return
    raise InvalidToken("The token was not signed by its issuer.")


def _known_key(did: str, in_doubt: bool) -> SigningKey:
    with _named_refusals():
        key = None if in_doubt else resolver.known_key(did)
    if key is None:
        raise MustAsk
    return key


def _key(did: str, in_doubt: bool, *, address: str | None) -> SigningKey | None:
    with _named_refusals():
        known = None if in_doubt else resolver.known_key(did)
        if known is not None:
            return known
        require_few_failures(address)
        return resolver.key_in_doubt(did) if in_doubt else resolver.key(did)


@contextmanager
def _named_refusals() -> Iterator[None]:
    try:
        yield
    except Missing:
        raise InvalidToken("The issuer of the token has no signing key.") from None
    except Unreachable:
        raise NotEnoughResources("The issuer of the token cannot be asked for its key at the moment.") from None


def _development_proof(text: str, nsid: str) -> Proof:
    claims = _development_claims(text)
    issuer, jti = claims["iss"], claims.get("jti")
    require_parties(issuer, claims.get("sub"))
    if claims.get("lxm", nsid) != nsid:
        raise InvalidToken("The token was issued for another method.")
    return Proof(issuer, claims["exp"] + CLOCK_LEEWAY_SECONDS, str(jti) if jti else None)


def _development_claims(text: str) -> dict[str, Any]:
    if not settings.JWT_SECRET:
        raise InvalidToken("Development tokens are not accepted here.")
    try:
        return jwt.decode(
            text,
            settings.JWT_SECRET,
            algorithms=[DEVELOPMENT_ALGORITHM],
            audience=audiences(),
            leeway=CLOCK_LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise ExpiredToken("The token has expired.") from None
    except (jwt.InvalidTokenError, ValueError):
        raise InvalidToken("The token is not valid for this service.") from None


@contextmanager
def _counted(address: str | None) -> Iterator[None]:
    """A refused token counts against where it came from."""
    try:
        yield
    except AuthenticationRequired:
        count_failure(address)
        raise


def _admitted(header: str | None, nsid: str, proof: Proof, *, procedure: bool) -> Caller:
    """Its caller, who is remembered unless the token counts only once."""
    caller = Caller(did=proof.did)
    if not procedure or proof.jti is None:
        with _lock:
            if len(_proven) >= PROVEN_MAX:
                del _proven[next(iter(_proven))]
            _proven[_digest(header or ""), nsid] = caller, min(proof.until, time.time() + PROVEN_SECONDS)
    return caller


def _digest(header: str) -> bytes:
    return hashlib.sha256(header.encode()).digest()
