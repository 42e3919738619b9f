"""From a token to its caller."""

import time
from typing import Any

import jwt
import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from catbird_mls.xrpc.auth import authenticate, mint_development_token
from catbird_mls.xrpc.errors import AuthenticationRequired, ExpiredToken, InvalidToken
from tests.devices import ALICE, BOB

NSID = "blue.catbird.mls.getConvos"


def token(settings: LazySettings, *, key: str | None = None, **changes: Any) -> str:
    claims = {"iss": ALICE, "aud": settings.SERVICE_DID, "exp": int(time.time()) + 60, "lxm": NSID} | changes
    given = {name: value for name, value in claims.items() if value is not None}
    return "Bearer " + jwt.encode(given, key or settings.JWT_SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    "changes", [{}, {"lxm": None}, {"sub": ALICE}, {"aud": "did:web:localhost#atproto_mls"}, {"iat": 1, "jti": "x"}]
)
def test_a_sound_token_speaks_for_its_issuer(settings: LazySettings, changes: dict[str, Any]) -> None:
    assert authenticate(token(settings, **changes), NSID, procedure=False).did == ALICE


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"exp": 1}, ExpiredToken),
        ({"exp": None}, InvalidToken),
        ({"aud": "did:web:elsewhere"}, InvalidToken),
        ({"aud": None}, InvalidToken),
        ({"lxm": "blue.catbird.mls.sendMessage"}, InvalidToken),
        ({"iss": None}, InvalidToken),
        ({"iss": f"{ALICE}#device"}, InvalidToken),
        ({"iss": "alice"}, InvalidToken),
        ({"sub": BOB}, InvalidToken),
        ({"key": "another secret of sufficient length, 32 bytes"}, InvalidToken),
    ],
)
def test_refusals(settings: LazySettings, changes: dict[str, Any], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        authenticate(token(settings, **changes), NSID, procedure=False)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc"])
def test_a_token_is_required(header: str | None) -> None:
    with pytest.raises(AuthenticationRequired):
        authenticate(header, NSID, procedure=False)


def test_an_unsigned_token_is_refused(settings: LazySettings) -> None:
    unsigned = jwt.encode(
        {"iss": ALICE, "aud": settings.SERVICE_DID, "exp": int(time.time()) + 60}, None, algorithm="none"
    )
    with pytest.raises(InvalidToken):
        authenticate(f"Bearer {unsigned}", NSID, procedure=False)


def test_without_a_secret_no_development_token_is_accepted(settings: LazySettings) -> None:
    header = token(settings)
    settings.JWT_SECRET = ""
    with pytest.raises(InvalidToken):
        authenticate(header, NSID, procedure=False)


def test_a_minted_token_is_good_for_its_method(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("mint_token", ALICE, "--method", NSID)
    minted = capsys.readouterr().out.strip()
    assert authenticate(f"Bearer {minted}", NSID, procedure=False).did == ALICE
    with pytest.raises(InvalidToken):
        authenticate(f"Bearer {minted}", "blue.catbird.mls.sendMessage", procedure=True)


def test_minting_says_what_is_wrong(settings: LazySettings) -> None:
    with pytest.raises(CommandError, match="not a DID"):
        call_command("mint_token", "alice")
    settings.JWT_SECRET = ""
    with pytest.raises(CommandError, match="no JWT_SECRET"):
        call_command("mint_token", ALICE)


def test_a_token_ends() -> None:
    with pytest.raises(ExpiredToken):
        authenticate(f"Bearer {mint_development_token(ALICE, lifetime_seconds=-60)}", NSID, procedure=False)
