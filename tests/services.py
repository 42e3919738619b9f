"""A pytest plugin: one embedded PostgreSQL and Valkey for the whole run, started before Django reads its settings."""

import os
import tempfile
from pathlib import Path

import pytest

WORKER = "PYTEST_XDIST_WORKER" in os.environ

LIMITS = (
    "RATE_LIMIT_SEND_MESSAGE",
    "RATE_LIMIT_PUBLISH_KEY_PACKAGE",
    "RATE_LIMIT_KEY_PACKAGE_ITEMS",
    "RATE_LIMIT_ADD_MEMBERS",
    "RATE_LIMIT_CREATE_CONVO",
    "RATE_LIMIT_DID_DEFAULT",
    "RATE_LIMIT_IP_PER_MINUTE",
    "AUTH_RATE_LIMIT_PER_SECOND",
)

if not WORKER:
    # A server that happens to run on this machine is nobody's business here.
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "CATBIRD_ENV",
        "JWT_SECRET",
        "SERVICE_DID",
        "ENABLE_METRICS",
        "CATBIRD_METRICS_DIR",
    ):
        os.environ.pop(name, None)
    # Tests are in more of a hurry than people; those of the limits set them by themselves.
    for name in LIMITS:
        os.environ[name] = "0"
    _folder = tempfile.mkdtemp(prefix="catbird-tests-")
    # PostgreSQL does not run as root, and must be able to come to its files.
    Path(_folder).chmod(0o711)
    os.environ["CATBIRD_DATA"] = _folder


def pytest_configure(config: pytest.Config) -> None:
    if WORKER:
        return
    from catbird_mls import embedded  # noqa: PLC0415 - after the environment is set

    data = Path(os.environ["CATBIRD_DATA"])
    servers = embedded.start(data)
    config.add_cleanup(lambda: embedded.forget(data))
    config.add_cleanup(servers.stop)
