"""Whether there is anything to migrate."""

import subprocess
import sys

import pytest
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from catbird_mls import migrated


def test_it_finds_on_disk_what_django_finds() -> None:
    assert set(migrated.wanted()) == set(MigrationLoader(None).disk_migrations)


@pytest.mark.django_db
def test_a_database_with_everything_is_current_and_one_that_lacks_something_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert migrated.is_current()
    monkeypatch.setattr(migrated, "wanted", lambda: [("conversations", "9999_not_applied")])
    assert not migrated.is_current()


@pytest.mark.django_db
def test_where_it_cannot_be_told_it_is_not_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")
    assert not migrated.is_current()


def test_it_is_asked_without_loading_the_apps() -> None:
    asked = "import sys; from catbird_mls import migrated; sys.exit('django.contrib.admin' in sys.modules)"
    surroundings = {"DJANGO_SETTINGS_MODULE": "catbird_mls.settings", "PYTHONPATH": "."}
    assert subprocess.run([sys.executable, "-c", asked], env=surroundings).returncode == 0
