"""What operators and their tools ask."""

import pytest
from django.conf import LazySettings
from django.test import Client

from catbird_mls import checks, health
from tests.devices import ALICE, Phone
from tests.situations import a_convo, update


@pytest.mark.django_db
def test_a_sound_service_says_so() -> None:
    response = Client().get("/health")
    body = response.json()
    assert (response.status_code, body["status"]) == (200, "healthy")
    assert isinstance(body["timestamp"], int)
    assert body["version"] == "0.1.0"
    assert (body["checks"]["database"], body["checks"]["memory"]) == ("healthy", "healthy")
    assert body["checks"]["redis"] == "healthy"
    assert body["checks"]["actors"] == {"status": "healthy", "healthy": True, "active_actors": 0}


@pytest.mark.django_db
def test_convos_with_work_are_the_active_actors() -> None:
    talk = a_convo(Phone(ALICE))
    update(talk, talk.founder)
    update(talk, talk.founder)
    assert Client().get("/health").json()["checks"]["actors"]["active_actors"] == 1


@pytest.mark.django_db
def test_a_bus_that_is_down_is_told_and_costs_no_health(settings: LazySettings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = Client().get("/health")
    assert (response.status_code, response.json()["checks"]["redis"]) == (200, "unhealthy")


def test_a_database_that_is_down_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_database", lambda: "unhealthy")
    assert Client().get("/health").status_code == 503
    assert Client().get("/health/ready").status_code == 503
    assert Client().get("/health/live").status_code == 200


@pytest.mark.django_db
def test_readiness_and_version() -> None:
    assert Client().get("/health/ready").json() == {"status": "ready"}
    assert Client().get("/xrpc/_health").json() == {"version": "0.1.0"}


def test_a_production_with_development_secrets_does_not_start(settings: LazySettings) -> None:
    settings.PRODUCTION, settings.MESSAGE_TAG_KEY, settings.EXTERNAL_SENDER_SECRETS = True, "", ()
    found = {one.id for one in checks.production_secrets(None)}
    assert found == {"catbird.E001", "catbird.E002", "catbird.E003", "catbird.E007"}


def test_short_secrets_of_an_external_sender_do_not_start(settings: LazySettings) -> None:
    settings.EXTERNAL_SENDER_SECRETS = ("x" * 32, "x" * 31)
    assert [one.id for one in checks.long_secrets(None)] == ["catbird.E008"]


def test_limits_that_no_client_could_live_with_do_not_start(settings: LazySettings) -> None:
    settings.CATBIRD_EPOCH_WINDOW, settings.CATBIRD_MAX_MEMBERS = 5, 1
    assert {one.id for one in checks.sensible_limits(None)} == {"catbird.E004", "catbird.E005"}


def test_a_production_that_opens_its_network_does_not_start(settings: LazySettings) -> None:
    settings.CATBIRD_ALLOW_PRIVATE_ADDRESSES = True
    assert checks.guarded_network(None) == []
    settings.PRODUCTION = True
    assert [one.id for one in checks.guarded_network(None)] == ["catbird.E011"]
