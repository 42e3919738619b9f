"""Whether there is anything to migrate, asked without loading the apps, which takes longer than all of a start."""

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from django.conf import settings

from catbird_mls.xrpc.pool import connection_parameters

PATIENCE_SECONDS = 5

Migration = tuple[str, str]


def is_current() -> bool:
    """The database has every migration of this code. False also when it cannot be told."""
    parameters = {**connection_parameters(), "connect_timeout": PATIENCE_SECONDS}
    with suppress(psycopg.Error), psycopg.connect(**parameters) as held:
        applied = set(held.execute("SELECT app, name FROM django_migrations").fetchall())
        return set(wanted()) <= applied
    return False


def wanted() -> Iterator[Migration]:
    """App and name of every migration on disk; an app's label is its module's last part, as it is for all of ours."""
    for app in settings.INSTALLED_APPS:
        module = app.partition(".apps.")[0]
        found = find_spec(module)
        for folder in (found and found.submodule_search_locations) or ():
            for file in Path(folder, "migrations").glob("[!_]*.py"):
                yield module.rpartition(".")[2], file.stem
