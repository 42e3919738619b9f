"""A worker keeps its connection from task to task, unless it broke."""

from collections.abc import Iterator

import psycopg
import pytest
from celery.signals import task_postrun
from django.db import connection

from catbird_mls.celery import keep_connections
from catbird_mls.xrpc.pool import connection_parameters
from conversations.tasks import note_epochs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def as_in_a_worker() -> Iterator[None]:
    """What a worker process does when it begins, taken back afterwards."""
    before = list(task_postrun.receivers)
    keep_connections()
    try:
        yield
    finally:
        task_postrun.receivers[:] = before
        connection.close()


def outcome() -> str:
    return str(note_epochs.apply().state)


@pytest.mark.usefixtures("as_in_a_worker")
def test_a_task_fails_with_its_connection_and_the_next_one_has_another() -> None:
    connection.ensure_connection()
    with psycopg.connect(**connection_parameters(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    assert [outcome(), outcome()] == ["FAILURE", "SUCCESS"]
