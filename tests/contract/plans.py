"""How the database carries out what the code asks of it: the plan of every statement, those inside of functions too."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import sql
from psycopg.errors import Diagnostic

from catbird_mls.data_folder import kept_facts

EXPLAINED = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_format = json;
SET auto_explain.log_level = notice;
SET client_min_messages = notice;
"""
WALKS = {"Index Scan", "Index Only Scan"}
# Such an index holds what waits, and is read whole on purpose.
PARTIAL = "SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL"

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Statement:
    text: str
    plan: Node

    def read_whole(self, large: Collection[str]) -> set[str]:
        """Those of these tables that it reads from one end to the other."""
        nodes = _nodes(self.plan)
        return {node["Relation Name"] for node, bounded in nodes if _reads_all(node, bounded=bounded)} & set(large)


def _nodes(node: Node, *, bounded: bool = False) -> Iterator[tuple[Node, bool]]:
    """Each with whether somebody above it stops early."""
    yield node, bounded
    for child in node.get("Plans", ()):
        yield from _nodes(child, bounded=bounded or node["Node Type"] == "Limit")


def _reads_all(node: Node, *, bounded: bool) -> bool:
    if node["Node Type"] == "Seq Scan":
        return True
    walks = node["Node Type"] in WALKS and "Index Cond" not in node
    return walks and not bounded and node["Index Name"] not in _partial_indexes()


@lru_cache(maxsize=1)
def _partial_indexes() -> frozenset[str]:
    with connection.cursor() as cursor:
        cursor.execute(PARTIAL)
        return frozenset(name for (name,) in cursor.fetchall())


@contextmanager
def as_superuser() -> Iterator[None]:
    """The test's own connection may do everything."""
    role = sql.Identifier(connection.settings_dict["USER"])
    with _administrator() as administrator:
        administrator.execute(sql.SQL("GRANT postgres TO {}").format(role))
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET ROLE postgres")
                yield
                cursor.execute("RESET ROLE")
        finally:
            administrator.execute(sql.SQL("REVOKE postgres FROM {}").format(role))


def _administrator() -> "psycopg.Connection[Any]":
    given, kept = connection.settings_dict, kept_facts(settings.CATBIRD_DATA)
    where = {"host": given["HOST"], "port": given["PORT"], "dbname": given["NAME"]}
    return psycopg.connect(**where, user="postgres", password=kept["superuser_password"], autocommit=True)


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Every statement that the test's connection carries out meanwhile, with its plan."""
    statements: list[Statement] = []

    def note(said: Diagnostic) -> None:
        _, found, text = (said.message_primary or "").partition("plan:\n")
        if found:
            explained = json.loads(text)
            statements.append(Statement(explained["Query Text"], explained["Plan"]))

    assert connection.connection is not None
    connection.connection.add_notice_handler(note)
    try:
        yield statements
    finally:
        connection.connection.remove_notice_handler(note)
