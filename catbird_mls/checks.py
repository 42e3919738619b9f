"""Refuses to start with settings that would be unsafe."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


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
    return found


@register("catbird")
def guarded_metrics(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.PRODUCTION and settings.ENABLE_METRICS and not settings.METRICS_TOKEN:
        return [Error("Set METRICS_TOKEN in production, or ENABLE_METRICS=false.", id="catbird.E006")]
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
