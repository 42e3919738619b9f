"""Whether the database lets all our processes in at once: a pool that cannot fill fails when it is needed most."""

from collections.abc import Sequence
from typing import Any

import psycopg
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from catbird_mls.xrpc.pool import connection_parameters

PATIENCE_SECONDS = 5
# Beat, the worker's parent and the pusher's threads; and somebody with a shell.
OTHERS = 12
ALLOWED = """
SELECT least(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - current_setting('reserved_connections')::int,
    (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
    (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()))
"""


def connections_wanted() -> int:
    """The most that the processes of this configuration ever hold."""
    web = settings.CATBIRD_WEB_PROCESSES * (settings.CATBIRD_DATABASE_POOL + settings.CATBIRD_FRONT_POOL)
    return int(web + settings.CATBIRD_WORKER_PROCESSES + OTHERS)


def connections_allowed() -> int | None:
    """What the server, the role and the database let us have; None when it cannot be asked."""
    try:
        with psycopg.connect(**{**connection_parameters(), "connect_timeout": PATIENCE_SECONDS}) as held:
            row = held.execute(ALLOWED).fetchone()
    except psycopg.Error:
        return None
    return int(row[0]) if row else None


def shortage() -> str:
    """What is wrong and what helps; empty when there is room for all, or nobody can tell."""
    wanted, allowed = connections_wanted(), connections_allowed()
    if allowed is None or wanted <= allowed:
        return ""
    return (
        f"the processes may want {wanted} connections and PostgreSQL allows {allowed}: lower CATBIRD_DATABASE_POOL or"
        " CATBIRD_WEB_PROCESSES, or raise max_connections"
    )


@register(Tags.database)
def check_connections(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """For ``check --database default`` and ``migrate``."""
    found = shortage() if databases else ""
    return [Error(found, id="catbird.E012")] if found else []
