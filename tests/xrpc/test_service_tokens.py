"""Tokens that accounts sign with keys of their own."""

import asyncio
import json
import time
from typing import Any

import jwt
import pytest
from django.conf import LazySettings

from catbird_mls.xrpc.auth import authenticate, authenticate_soon, cached_caller
from catbird_mls.xrpc.errors import AuthenticationRequired, ExpiredToken, InvalidToken, RateLimitExceeded
from tests.devices import ALICE, BOB
from tests.xrpc.identities import ES256, ES256K, NSID, Account, Hosts, base64url, plc_did

SEND = "blue.catbird.mls.sendMessage"


@pytest.fixture
def alice(hosts: Hosts) -> Account:
    account = Account()
    hosts.directory.publish(account)
    return account


def parts(token: str) -> list[str]:
    return token.split(".")


@pytest.mark.parametrize("algorithm", [ES256, ES256K])
@pytest.mark.parametrize("form", ["multikey", "legacy", "jwk"])
def test_a_token_speaks_for_whose_key_signed_it(hosts: Hosts, algorithm: str, form: str) -> None:
    account = Account(algorithm)
    hosts.directory.publish(account, **getattr(account, form)())
    assert authenticate(account.bearer(), NSID, procedure=False).did == account.did


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "did:web:localhost#atproto_mls"},
        {"sub": "the issuer"},
        {"iat": None},
        {"exp": lambda: int(time.time()) - 20, "iat": None},
        {"exp": lambda: int(time.time()) + 3600},
        {"nbf": lambda: int(time.time())},
        {"header": {"typ": None}},
        {"header": {"typ": "jwt"}},
        {"header": {"kid": "#atproto"}},
        {"jti": None},
        {"unheard_of": [1, None]},
    ],
)
def test_what_a_pds_may_write_is_read(alice: Account, changes: dict[str, Any]) -> None:
    given = {name: value() if callable(value) else value for name, value in changes.items()}
    given = {name: alice.did if value == "the issuer" else value for name, value in given.items()}
    assert authenticate(alice.bearer(**given), NSID, procedure=False).did == alice.did


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"iss": None}, InvalidToken),
        ({"iss": 7}, InvalidToken),
        ({"iss": "alice.example"}, InvalidToken),
        ({"iss": lambda: plc_did() + "#atproto_mls"}, InvalidToken),
        ({"iss": lambda: plc_did()}, InvalidToken),
        ({"iss": "did:plc:short"}, InvalidToken),
        ({"iss": "did:key:zQ3sh"}, InvalidToken),
        ({"aud": None}, InvalidToken),
        ({"aud": "did:web:elsewhere"}, InvalidToken),
        ({"aud": ["did:web:localhost"]}, InvalidToken),
        ({"aud": "did:web:localhost#bsky_appview"}, InvalidToken),
        ({"aud": "did:web:localhost:more"}, InvalidToken),
        ({"exp": None}, InvalidToken),
        ({"exp": "2030-01-01"}, InvalidToken),
        ({"exp": 1e400}, InvalidToken),
        ({"exp": lambda: int(time.time()) - 60}, ExpiredToken),
        ({"exp": lambda: int(time.time()) + 3700}, InvalidToken),
        ({"iat": lambda: int(time.time()) + 50}, InvalidToken),
        ({"nbf": lambda: int(time.time()) + 50}, InvalidToken),
        ({"iat": lambda: int(time.time()) + 25, "exp": lambda: int(time.time()) + 5}, InvalidToken),
        ({"lxm": None}, InvalidToken),
        ({"lxm": SEND}, InvalidToken),
        ({"lxm": "*"}, InvalidToken),
        ({"sub": BOB}, InvalidToken),
        ({"jti": 7}, InvalidToken),
        ({"header": {"alg": None}}, InvalidToken),
        ({"header": {"alg": "none"}}, InvalidToken),
        ({"header": {"alg": "ES256"}}, InvalidToken),
        ({"header": {"alg": "es256k"}}, InvalidToken),
        ({"header": {"alg": "HS256"}}, InvalidToken),
        ({"header": {"typ": "at+jwt"}}, InvalidToken),
        ({"header": {"typ": "refresh+jwt"}}, InvalidToken),
        ({"header": {"typ": "dpop+jwt"}}, InvalidToken),
        ({"header": {"kid": "#another"}}, InvalidToken),
        ({"header": {"crit": ["b64"], "b64": False}}, InvalidToken),
        ({"header": {"filler": "x" * 4096}}, InvalidToken),
        ({"high": True}, InvalidToken),
    ],
)
def test_one_thing_wrong_is_enough(alice: Account, changes: dict[str, Any], refusal: type[Exception]) -> None:
    given = {name: value() if callable(value) else value for name, value in changes.items()}
    with pytest.raises(AuthenticationRequired) as refused:
        authenticate(alice.bearer(**given), NSID, procedure=False)
    assert type(refused.value) is refusal


def test_the_higher_of_two_signatures_is_refused_on_the_other_curve_too(hosts: Hosts) -> None:
    account = Account(ES256)
    hosts.directory.publish(account)
    with pytest.raises(InvalidToken):
        authenticate(account.bearer(high=True), NSID, procedure=False)


def test_another_accounts_signature_is_refused(alice: Account, hosts: Hosts) -> None:
    mallory = Account()
    hosts.directory.publish(mallory)
    with pytest.raises(InvalidToken):
        authenticate(mallory.bearer(iss=alice.did), NSID, procedure=False)


def test_a_key_of_one_curve_does_not_sign_for_the_other(hosts: Hosts) -> None:
    """A P-256 key that a token uses under the other algorithm's name."""
    account = Account(ES256)
    hosts.directory.publish(account)
    with pytest.raises(InvalidToken):
        authenticate(account.bearer(header={"alg": ES256K}), NSID, procedure=False)


@pytest.mark.parametrize(
    "mangle",
    [
        lambda t: t[:-1],
        lambda t: t + "A",
        lambda t: t + "=",
        lambda t: t + ".",
        lambda t: "." + t,
        lambda t: t.rpartition(".")[0],
        lambda t: t.rpartition(".")[0] + ".",
        lambda t: t.replace(".", "..", 1),
        lambda t: ".".join([parts(t)[0], parts(t)[1] + "==", parts(t)[2]]),
        lambda t: ".".join([parts(t)[0], parts(t)[1][:-2], parts(t)[2]]),
        lambda t: ".".join([base64url(b"{"), *parts(t)[1:]]),
        lambda t: ".".join([base64url(b"[]"), *parts(t)[1:]]),
        lambda t: ".".join([parts(t)[0], base64url(b"\xff"), parts(t)[2]]),
        lambda t: ".".join([*parts(t)[:2], base64url(bytes(64))]),
        lambda t: ".".join([*parts(t)[:2], base64url(b"\xff" * 64)]),
        lambda t: ".".join([*parts(t)[:2], base64url(bytes(63))]),
        lambda t: t[:40] + "\n" + t[40:],
        lambda t: t + "\u00e9",
        lambda t: "a.b.c",
        lambda t: "...",
    ],
)
def test_what_is_not_a_whole_token_is_refused(alice: Account, mangle: Any) -> None:
    with pytest.raises(InvalidToken):
        authenticate("Bearer " + mangle(alice.token()), NSID, procedure=False)


def test_a_signature_has_one_spelling(alice: Account) -> None:
    """64 bytes leave four bits over in their last letter, which must be zero."""
    token = alice.token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    with pytest.raises(InvalidToken):
        authenticate("Bearer " + other, NSID, procedure=False)
    assert authenticate("Bearer " + token, NSID, procedure=False)


def test_a_signature_has_one_length(alice: Account) -> None:
    signed = alice.token().rpartition(".")[0]
    signature = alice.signature(signed.encode())
    longer = signature[:32] + b"\0" + signature[32:]
    with pytest.raises(InvalidToken):
        authenticate(f"Bearer {signed}.{base64url(longer)}", NSID, procedure=False)


def test_a_public_key_is_no_shared_secret(alice: Account, settings: LazySettings) -> None:
    forged = jwt.encode(alice.claims(), alice.point.hex(), algorithm="HS256")
    with pytest.raises(InvalidToken):
        authenticate(f"Bearer {forged}", NSID, procedure=False)
    settings.JWT_SECRET = ""
    mine = jwt.encode(alice.claims(), "x" * 32, algorithm="HS256")
    with pytest.raises(InvalidToken):
        authenticate(f"Bearer {mine}", NSID, procedure=False)
    assert authenticate(alice.bearer(), NSID, procedure=False).did == alice.did


def test_a_bad_token_asks_nobody_for_a_key(hosts: Hosts) -> None:
    for changes in ({"aud": "did:web:elsewhere"}, {"lxm": SEND}, {"exp": 1}, {"sub": BOB}):
        with pytest.raises(AuthenticationRequired):
            authenticate(Account().bearer(**changes), NSID, procedure=False)
    assert hosts.directory.asked == []


def test_refusals_repeat_nothing_of_the_token(alice: Account) -> None:
    with pytest.raises(InvalidToken) as refused:
        authenticate(alice.bearer(aud="did:web:secret.example"), NSID, procedure=False)
    assert "secret" not in json.dumps(refused.value.body())


def test_a_query_may_come_again_with_its_token(alice: Account) -> None:
    header = alice.bearer()
    assert cached_caller(header, NSID) is None
    caller = authenticate(header, NSID, procedure=False)
    assert cached_caller(header, NSID) == caller
    assert authenticate(header, NSID, procedure=False) == caller
    assert cached_caller(header, SEND) is None
    assert cached_caller(None, NSID) is None


def test_a_procedure_needs_a_token_with_an_id(alice: Account) -> None:
    with pytest.raises(InvalidToken):
        authenticate(alice.bearer(lxm=SEND, jti=None), SEND, procedure=True)
    with pytest.raises(InvalidToken):
        authenticate(alice.bearer(lxm=SEND, jti=""), SEND, procedure=True)


def test_a_procedure_spends_its_token(alice: Account) -> None:
    header = alice.bearer(lxm=SEND)
    assert authenticate(header, SEND, procedure=True).did == alice.did
    assert cached_caller(header, SEND) is None
    with pytest.raises(InvalidToken, match="before"):
        authenticate(header, SEND, procedure=True)


def test_an_id_is_its_issuers_own(alice: Account, hosts: Hosts) -> None:
    bob = Account()
    hosts.directory.publish(bob)
    for account in (alice, bob):
        assert authenticate(account.bearer(lxm=SEND, jti="1"), SEND, procedure=True).did == account.did


def test_a_proof_ends_with_its_token(alice: Account, settings: LazySettings) -> None:
    header = alice.bearer(exp=int(time.time()) - 28, iat=None)
    authenticate(header, NSID, procedure=False)
    deadline = time.monotonic() + 10
    while cached_caller(header, NSID) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(ExpiredToken):
        authenticate(header, NSID, procedure=False)


def test_a_development_token_with_an_id_is_spent_too(settings: LazySettings) -> None:
    claims = {"iss": ALICE, "aud": settings.SERVICE_DID, "exp": int(time.time()) + 60, "jti": plc_did()}
    header = "Bearer " + jwt.encode(claims, settings.JWT_SECRET, algorithm="HS256")
    assert authenticate(header, NSID, procedure=False).did == ALICE
    assert authenticate(header, SEND, procedure=True).did == ALICE
    with pytest.raises(InvalidToken):
        authenticate(header, SEND, procedure=True)


def soon(*headers: str | None, nsid: str = NSID, **more: Any) -> list[Any]:
    """The outcome of each, all at once in one event loop."""

    async def outcomes() -> list[Any]:
        calls = [authenticate_soon(header, nsid, procedure=nsid == SEND, **more) for header in headers]
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(outcomes())


def test_in_an_event_loop_it_is_the_same(alice: Account) -> None:
    unknown_yet, known = alice.bearer(), alice.bearer()
    (first,) = soon(unknown_yet)
    (second,) = soon(known)
    assert first == second == cached_caller(known, NSID)
    mallory = Account(did=alice.did)
    outcomes = soon(None, alice.bearer(lxm=SEND), alice.bearer(exp=1), mallory.bearer(), Account().bearer())
    kinds = [AuthenticationRequired, InvalidToken, ExpiredToken, InvalidToken, InvalidToken]
    assert [type(outcome) for outcome in outcomes] == kinds


def test_in_an_event_loop_a_procedure_spends_its_token(alice: Account) -> None:
    header = alice.bearer(lxm=SEND)
    outcomes = soon(*[header] * 8, nsid=SEND)
    assert sum(isinstance(outcome, InvalidToken) for outcome in outcomes) == 7
    assert cached_caller(header, SEND) is None
    assert isinstance(soon(alice.bearer(lxm=SEND, jti=None), nsid=SEND)[0], InvalidToken)


def test_in_an_event_loop_a_rotated_key_is_learnt(alice: Account, hosts: Hosts) -> None:
    soon(alice.bearer())
    alice.rotate()
    hosts.directory.publish(alice)
    assert soon(alice.bearer())[0].did == alice.did


def test_in_an_event_loop_strangers_are_counted(alice: Account, settings: LazySettings) -> None:
    settings.RATE_LIMIT_IP_PER_MINUTE = 1
    outcomes = [type(soon(header, address="192.0.2.9")[0]) for header in (None, None, Account().bearer())]
    assert outcomes == [AuthenticationRequired, RateLimitExceeded, RateLimitExceeded]
