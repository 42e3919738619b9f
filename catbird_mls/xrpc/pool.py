"""Connections for the asynchronous half of a web process, beside those of Django's threads."""

from typing import Any

from django.conf import settings
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

AsyncPool = AsyncConnectionPool[AsyncConnection[Any]]
PATIENCE_SECONDS = 5.0
# Options that Django takes for itself.
OF_DJANGO = {"pool", "server_side_binding"}


def new_pool() -> AsyncPool:
    """A pool for the running event loop; open it there. Every statement is a transaction of its own."""
    return AsyncConnectionPool(
        kwargs={**connection_parameters(), "autocommit": True, "application_name": "catbird front"},
        min_size=1,
        max_size=settings.CATBIRD_FRONT_POOL,
        timeout=PATIENCE_SECONDS,
        reconnect_timeout=PATIENCE_SECONDS,
        check=None,
        open=False,
        name="front",
    )


def connection_parameters() -> dict[str, Any]:
    """libpq's names for what settings say of the database."""
    given = settings.DATABASES["default"]
    options = {name: value for name, value in given["OPTIONS"].items() if name not in OF_DJANGO}
    named = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    where = {name: given[key] for name, key in named.items() if given.get(key)}
    return {**where, **options}
