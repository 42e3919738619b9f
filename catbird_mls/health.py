"""What operators and their tools ask; none of it needs a token and none of it names anybody."""

import os
import time

import redis
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse

HEALTHY, UNHEALTHY = "healthy", "unhealthy"
MEMORY_FLOOR_PAGES = 4096
ACTIVE_CONVOS = """
SELECT count(DISTINCT convo_id) FROM conversations_message WHERE received_at > now() - interval '1 minute'
"""


def health(request: HttpRequest) -> JsonResponse:
    """The whole picture; 503 when the service cannot do its work. A bus that is down costs speed only."""
    checks: dict[str, object] = {"database": _database(), "memory": _memory(), "redis": _redis()}
    if checks["database"] == HEALTHY:
        checks["actors"] = _actors()
    sound = checks["database"] == HEALTHY and checks["memory"] == HEALTHY
    body = {
        "status": HEALTHY if sound else UNHEALTHY,
        "timestamp": int(time.time()),
        "version": _version(),
        "checks": checks,
    }
    return JsonResponse(body, status=200 if sound else 503)


def live(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "alive"})


def ready(request: HttpRequest) -> JsonResponse:
    """The process can serve calls: its database answers and is migrated."""
    sound = _database() == HEALTHY
    return JsonResponse({"status": "ready" if sound else "not ready"}, status=200 if sound else 503)


def version(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"version": _version()})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM conversations_convo LIMIT 1")
    except Error:
        return UNHEALTHY
    return HEALTHY


def _redis() -> str:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    try:
        client.ping()
    except redis.RedisError:
        return UNHEALTHY
    finally:
        client.close()
    return HEALTHY


def _memory() -> str:
    free = os.sysconf("SC_AVPHYS_PAGES")
    return HEALTHY if free > MEMORY_FLOOR_PAGES else UNHEALTHY


def _actors() -> dict[str, str | bool | int]:
    """Convos that were written to within the last minute."""
    with connection.cursor() as cursor:
        cursor.execute(ACTIVE_CONVOS)
        row = cursor.fetchone()
    return {"status": HEALTHY, "healthy": True, "active_actors": row[0]}


def _version() -> str:
    return settings.VERSION
