"""Refuses to start with settings that would be unsafe."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

SECRET_MIN_LENGTH = 32


@register("catbird")
def production_secrets(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if not settings.PRODUCTION:
        return []
    found: list[CheckMessage] = []
    if settings.JWT_SECRET:
        found.append(Error("JWT_SECRET accepts development tokens; unset it in production.", id="catbird.E001"))
    if settings.EMBEDDED_POSTGRES or settings.EMBEDDED_VALKEY:
        found.append(Error("Set DATABASE_URL and REDIS_URL in production.", id="catbird.E002"))
    if not settings.MESSAGE_TAG_KEY:
        found.append(Error("Set CATBIRD_MESSAGE_TAG_KEY in production.", id="catbird.E003"))
    if not settings.EXTERNAL_SENDER_SECRETS:
        found.append(Error("Set CATBIRD_EXTERNAL_SENDER_SECRETS in production.", id="catbird.E007"))
    return found


@register("catbird")
def long_secrets(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if any(len(secret) < SECRET_MIN_LENGTH for secret in settings.EXTERNAL_SENDER_SECRETS):
        message = f"Each of CATBIRD_EXTERNAL_SENDER_SECRETS has at least {SECRET_MIN_LENGTH} characters."
        return [Error(message, id="catbird.E008")]
    return []


@register("catbird")
def guarded_metrics(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.PRODUCTION and settings.ENABLE_METRICS and not settings.METRICS_TOKEN:
        return [Error("Set METRICS_TOKEN in production, or ENABLE_METRICS=false.", id="catbird.E006")]
    return []


@register("catbird")
def guarded_network(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.PRODUCTION and settings.CATBIRD_ALLOW_PRIVATE_ADDRESSES:
        return [Error("CATBIRD_ALLOW_PRIVATE_ADDRESSES opens this network; unset it in production.", id="catbird.E011")]
    return []


@register("catbird")
def sensible_limits(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not 0 <= settings.CATBIRD_EPOCH_WINDOW <= 4:
        # Clients keep the keys of five past epochs, so an older message could never be read.
        found.append(Error("CATBIRD_EPOCH_WINDOW must be from 0 to 4.", id="catbird.E004"))
    if not 2 <= settings.CATBIRD_MAX_MEMBERS <= 10_000:
        found.append(Error("CATBIRD_MAX_MEMBERS must be from 2 to 10000.", id="catbird.E005"))
    return found


@register("catbird")
def complete_push_credentials(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    names = ("CATBIRD_APNS_KEY_FILE", "CATBIRD_APNS_KEY_ID", "CATBIRD_APNS_TEAM_ID", "CATBIRD_APNS_TOPIC")
    missing = [name for name in names if not getattr(settings, name)]
    if 0 < len(missing) < len(names):
        return [Error(f"Pushes to Apple need {', '.join(missing)} too.", id="catbird.E010")]
    return []
