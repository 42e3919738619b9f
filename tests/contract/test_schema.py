"""What the database itself must keep."""

import pytest
from django.db import connection

CONVO_TABLES = {
    "conversations_member",
    "conversations_message",
    "conversations_proposal",
    "conversations_answer",
    "conversations_rejoinattempt",
    "conversations_additionclaim",
    "conversations_readditionrequest",
    "conversations_groupstate",
    "conversations_epoch",
    "conversations_ban",
    "conversations_groupinforequest",
    "journal_refusal",
    "keypackages_welcome",
    "keypackages_welcomebody",
    "delivery_mailbox",
    "delivery_dispatch",
    "delivery_envelope",
}

UNIQUE_INDEXES = """
SELECT t.relname, i.relname, a.attname
  FROM pg_index x
  JOIN pg_class t ON t.oid = x.indrelid
  JOIN pg_class i ON i.oid = x.indexrelid
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
 WHERE x.indisunique AND t.relname = ANY(%s)
"""


@pytest.mark.django_db
def test_every_key_of_a_convos_table_begins_with_the_convo() -> None:
    with connection.cursor() as cursor:
        cursor.execute(UNIQUE_INDEXES, [list(CONVO_TABLES)])
        keys = cursor.fetchall()
    assert {table for table, _, _ in keys} == CONVO_TABLES
    assert {(table, key) for table, key, first in keys if first != "convo_id"} == set()


@pytest.mark.django_db
def test_no_table_of_a_convo_is_forgotten_here() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'convo_id' "
            "AND table_schema = 'public'"
        )
        assert {name for (name,) in cursor.fetchall()} == CONVO_TABLES
