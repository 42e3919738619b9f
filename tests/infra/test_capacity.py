"""The database lets all our processes in, or nothing starts."""

import subprocess
import sys

import pytest
from django.conf import LazySettings
from django.core.checks import Tags, run_checks

from catbird_mls import capacity


def test_what_every_process_may_hold_is_counted(settings: LazySettings) -> None:
    settings.CATBIRD_WEB_PROCESSES, settings.CATBIRD_WORKER_PROCESSES = 3, 2
    settings.CATBIRD_DATABASE_POOL, settings.CATBIRD_FRONT_POOL = 16, 4
    assert capacity.connections_wanted() == 3 * 20 + 2 + capacity.OTHERS


@pytest.mark.django_db
def test_more_than_the_database_allows_is_an_error_that_says_what_helps(settings: LazySettings) -> None:
    assert not run_checks(tags=[Tags.database], databases=["default"])
    settings.CATBIRD_WEB_PROCESSES = 100
    (found,) = run_checks(tags=[Tags.database], databases=["default"])
    assert f"PostgreSQL allows {capacity.connections_allowed()}" in found.msg
    assert "CATBIRD_DATABASE_POOL" in found.msg


def test_where_nobody_can_tell_it_is_no_error(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "connection_parameters", lambda: {"host": "127.0.0.1", "port": "1"})
    settings.CATBIRD_WEB_PROCESSES = 100
    assert capacity.shortage() == ""


def test_it_is_asked_without_loading_the_apps() -> None:
    asked = "import sys; from catbird_mls import capacity; sys.exit('django.contrib.admin' in sys.modules)"
    surroundings = {"DJANGO_SETTINGS_MODULE": "catbird_mls.settings", "PYTHONPATH": "."}
    assert subprocess.run([sys.executable, "-c", asked], env=surroundings).returncode == 0
