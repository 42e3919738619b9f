"""What goes out to Apple and Google, byte for byte, and what is made of what they say."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from django.conf import LazySettings

from delivery import apns, fcm, providers
from delivery.apns import Apns, ApnsConfig
from delivery.fcm import Fcm, FcmConfig
from delivery.providers import KEPT_SECONDS, Outcome, Provider
from delivery.push import provider_of
from tests.providers import (
    HANG_UP,
    PROJECT,
    SILENCE,
    TOPIC,
    Apple,
    Google,
    Reply,
    Service,
    end,
    running,
    send,
    send_all,
)

IOS_TOKEN = "ab" * 32
OTHER_TOKEN = "cGhvbmU:APA91bFakeButLongEnough-_token"


@pytest.fixture
def apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apple]:
    with running(Apple, tmp_path, monkeypatch) as service:
        yield service


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with running(Google, tmp_path, monkeypatch) as service:
        yield service


@pytest.fixture(params=["apple", "google"])
def pair(request: pytest.FixtureRequest) -> tuple[Service, Provider, str]:
    """A service, what speaks to it, and a token of it."""
    service = request.getfixturevalue(request.param)
    return service, provider_of(service.platforms[0]), IOS_TOKEN if request.param == "apple" else OTHER_TOKEN


def test_apple_is_told_that_something_waits_and_no_more(apple: Apple) -> None:
    assert send(provider_of("ios"), IOS_TOKEN) == Outcome("sent")
    (push,) = apple.pushes
    assert push.token == IOS_TOKEN
    assert push.body == {
        "aps": {"alert": {"body": "Something is waiting for you."}, "mutable-content": 1, "content-available": 1}
    }
    given = {name: value for name, value in push.headers.items() if name.startswith("apns-")}
    assert abs(int(given.pop("apns-expiration")) - time.time() - KEPT_SECONDS) < 60
    assert given == {
        "apns-topic": TOPIC,
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-collapse-id": "waiting",
    }


def test_what_no_person_needs_to_see_is_not_shown_by_apple(apple: Apple) -> None:
    assert send(provider_of("ios"), IOS_TOKEN, quiet=True).kind == "sent"
    (push,) = apple.pushes
    assert push.body == {"aps": {"content-available": 1}}
    kind = [push.headers[f"apns-{name}"] for name in ("push-type", "priority", "collapse-id")]
    assert kind == ["background", "5", "upkeep"]


@pytest.mark.parametrize(("quiet", "urgency"), [(False, ("high", "high")), (True, ("normal", "low"))])
def test_google_is_told_that_something_waits_and_no_more(google: Google, quiet: bool, urgency: tuple[str, str]) -> None:
    assert send(provider_of("android"), OTHER_TOKEN, quiet=quiet) == Outcome("sent")
    (push,) = google.pushes
    assert push.body == {
        "message": {
            "token": OTHER_TOKEN,
            "data": {"waiting": "1"},
            "android": {
                "ttl": "2419200s",
                "collapse_key": "upkeep" if quiet else "waiting",
                "priority": urgency[0],
            },
            "webpush": {"headers": {"TTL": "2419200", "Urgency": urgency[1]}},
        }
    }


def test_a_provider_token_is_made_once_and_anew_when_it_is_refused(apple: Apple) -> None:
    provider = provider_of("ios")
    for _ in range(3):
        send(provider, IOS_TOKEN)
    assert (len(apple.bearers), apple.connections) == (1, 1)
    apple.replies = [Reply(403, {"reason": "ExpiredProviderToken"})]
    assert send(provider, IOS_TOKEN) == Outcome("retry", "403 ExpiredProviderToken")
    assert send(provider, IOS_TOKEN).kind == "sent"
    assert len(apple.bearers) == 2


def test_an_access_token_is_got_once_and_anew_when_it_is_refused_or_ends(google: Google) -> None:
    provider = provider_of("web")
    for _ in range(2):
        send(provider, OTHER_TOKEN)
    assert len(google.granted) == 1
    google.granted[0] = "another"
    assert send(provider, OTHER_TOKEN) == Outcome("retry", "401 UNAUTHENTICATED")
    google.lifetime_seconds = 1
    assert [send(provider, OTHER_TOKEN).kind for _ in range(2)] == ["sent", "sent"]
    assert len(google.granted) == 3


UNREGISTERED = {"error": {"status": "NOT_FOUND", "details": [{"@type": "x"}, {"errorCode": "UNREGISTERED"}]}}


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(410, {"reason": "Unregistered", "timestamp": 1}), Outcome("gone", "Unregistered")),
        (Reply(400, {"reason": "BadDeviceToken"}), Outcome("gone", "BadDeviceToken")),
        (Reply(429, {"reason": "TooManyRequests"}, {"retry-after": "7"}), Outcome("retry", "429 TooManyRequests", 7)),
        (Reply(503, {"reason": "Shutdown"}), Outcome("retry", "503 Shutdown")),
        (Reply(500), Outcome("retry", "500")),
        (Reply(400, {"reason": "PayloadEmpty"}), Outcome("refused", "400 PayloadEmpty")),
        (Reply(400, ["nonsense"]), Outcome("refused", "400")),
    ],
)
def test_what_apple_says_is_understood(apple: Apple, reply: Reply, outcome: Outcome) -> None:
    apple.replies = [reply]
    assert send(provider_of("ios"), IOS_TOKEN) == outcome
    assert send(provider_of("ios"), IOS_TOKEN) == Outcome("sent")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(404, UNREGISTERED), Outcome("gone", "UNREGISTERED")),
        (Reply(404, {"error": {"status": "NOT_FOUND"}}), Outcome("refused", "404 NOT_FOUND")),
        (Reply(429, {"error": {"status": "RESOURCE_EXHAUSTED"}}), Outcome("retry", "429 RESOURCE_EXHAUSTED")),
        (Reply(503, {}, {"retry-after": "60"}), Outcome("retry", "503", 60)),
        (Reply(503, {}, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), Outcome("retry", "503")),
        (Reply(400, {"error": {"status": "INVALID_ARGUMENT"}}), Outcome("refused", "400 INVALID_ARGUMENT")),
    ],
)
def test_what_google_says_is_understood(google: Google, reply: Reply, outcome: Outcome) -> None:
    google.replies = [reply]
    assert send(provider_of("web"), OTHER_TOKEN) == outcome
    assert send(provider_of("web"), OTHER_TOKEN) == Outcome("sent")


def test_a_service_that_hangs_up(pair: tuple[Service, Provider, str]) -> None:
    service, provider, token = pair
    service.replies = [HANG_UP]
    outcome = send(provider, token)
    assert (outcome.kind, outcome.cause in {"RemoteProtocolError", "ReadError"}) == ("retry", True)
    assert send(provider, token) == Outcome("sent")


def test_a_service_that_says_nothing_is_not_waited_for(apple: Apple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "PATIENCE_SECONDS", 0.2)
    apple.replies = [SILENCE]
    assert send(provider_of("ios"), IOS_TOKEN) == Outcome("retry", "ReadTimeout")


def test_a_service_that_is_not_there(pair: tuple[Service, Provider, str]) -> None:
    service, provider, token = pair
    service.stop()
    outcome = send(provider, token)
    assert (outcome.kind, outcome.cause) == ("retry", "ConnectError")


@pytest.mark.parametrize("content", [None, "", "no key"])
def test_credentials_that_cannot_be_used_are_a_cause_that_tells_nothing_of_them(
    apple: Apple, google: Google, settings: LazySettings, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "unusable"
    if content is not None:
        file.write_text(content)
    settings.CATBIRD_APNS_KEY_FILE = settings.CATBIRD_FCM_SERVICE_ACCOUNT_FILE = str(file)
    for platform, token in (("ios", IOS_TOKEN), ("web", OTHER_TOKEN)):
        provider = provider_of(platform)
        outcome = send(provider, token)
        end(provider)
        assert outcome.kind == "retry"
        assert outcome.cause.split(":")[0] in {"key file", "service account file"}
        assert content is None or not content or content not in outcome.cause


def test_google_grants_nothing_for_the_key_of_another(google: Google, settings: LazySettings) -> None:
    file = Path(settings.CATBIRD_FCM_SERVICE_ACCOUNT_FILE)
    file.write_text(file.read_text().replace("pusher@", "another@"))
    outcome = send(provider_of("web"), OTHER_TOKEN)
    assert outcome == Outcome("retry", "no access token: 400")
    assert PROJECT in file.read_text()


def test_many_pushes_share_a_connection(apple: Apple) -> None:
    provider, count = provider_of("ios"), 400
    outcomes = send_all(provider, [f"{n:064x}" for n in range(count)])
    assert {outcome.kind for outcome in outcomes} == {"sent"}
    assert sorted(apple.tokens) == [f"{n:064x}" for n in range(count)]
    assert apple.connections <= 2


def test_a_connection_that_ends_under_many_pushes_spoils_no_later_push(apple: Apple) -> None:
    provider, count = provider_of("ios"), 200
    apple.replies = [HANG_UP if n % 20 == 19 else Reply() for n in range(count)]
    outcomes = send_all(provider, [f"{n:064x}" for n in range(count)])
    assert {outcome.kind for outcome in outcomes} <= {"sent", "retry"}
    apple.replies = []
    assert send(provider, IOS_TOKEN) == Outcome("sent")


def test_nothing_of_a_token_is_logged(
    apple: Apple, google: Google, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.DEBUG):
        send(provider_of("ios"), IOS_TOKEN)
        send(provider_of("web"), OTHER_TOKEN)
        logging.getLogger("delivery").debug("heard")
    secrets = {IOS_TOKEN, OTHER_TOKEN, *apple.bearers, *google.granted}
    assert len(secrets) == 4
    assert "heard" in caplog.text
    assert [secret for secret in secrets if secret in caplog.text] == []


def test_a_provider_token_says_who_pushes_and_since_when(apple: Apple) -> None:
    send(provider_of("ios"), IOS_TOKEN)
    (bearer,) = apple.bearers
    assert jwt.get_unverified_header(bearer) == {"alg": "ES256", "kid": "ABC123DEFG", "typ": "JWT"}


def test_both_are_providers() -> None:
    made: list[Provider] = [
        Apns(ApnsConfig("https://apple.invalid", "", "", "", "")),
        Fcm(FcmConfig("https://google.invalid", "")),
    ]
    assert [provider.name for provider in made] == ["apns", "fcm"]
    assert (apns.KEPT_SECONDS, fcm.KEPT_SECONDS) == (KEPT_SECONDS, KEPT_SECONDS)
