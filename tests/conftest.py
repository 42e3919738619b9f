"""The client, and the contract check on every answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client

from catbird_mls.xrpc import lexicon
from catbird_mls.xrpc.auth import mint_development_token
from catbird_mls.xrpc.errors import GENERIC_NAMES

NAMESPACE = "blue.catbird.mls."


class Answer:
    """A response whose form the lexicon has approved."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.body = body

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def refusal(self) -> tuple[int, str | None]:
        return self.status, self.body.get("error")


class Wire:
    """Calls methods as a client does and holds every answer against its lexicon."""

    def __init__(self) -> None:
        self.client = Client(raise_request_exception=False)

    def call(self, method: str, *, by: str | None, **fields: Any) -> Answer:
        nsid = NAMESPACE + method
        headers = {"Authorization": f"Bearer {mint_development_token(by, nsid=nsid)}"} if by else {}
        if lexicon.kind(nsid) == "procedure":
            response = self.client.post(
                f"/xrpc/{nsid}", data=orjson.dumps(fields), content_type="application/json", headers=headers
            )
        else:
            response = self.client.get(f"/xrpc/{nsid}", data=fields, headers=headers)
        answer = Answer(response.status_code, orjson.loads(response.content))
        _check(nsid, answer)
        return answer


def _check(nsid: str, answer: Answer) -> None:
    if answer.status == 200:
        assert lexicon.violations(nsid, answer.body) == []
        return
    assert answer.body["error"] in lexicon.error_names(nsid) | GENERIC_NAMES
    assert answer.body["message"]
    if "currentEpoch" in answer.body:
        assert lexicon.def_violations(NAMESPACE + "defs", "conflictView", answer.body) == []


@pytest.fixture
def wire() -> Wire:
    return Wire()


OURS = "SELECT tablename FROM pg_tables WHERE tablename ~ '^(conversations|keypackages|delivery)_' ORDER BY 1"


def everything_written() -> dict[str, str]:
    """The content of every table of ours, as hashes: equal before and after a refusal that leaves no trace."""
    with connection.cursor() as cursor:
        cursor.execute(OURS)
        return {name: _content(cursor, name) for (name,) in cursor.fetchall()}


def _content(cursor: Any, table: str) -> str:
    cursor.execute(f"SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} t")  # noqa: S608
    return str(cursor.fetchone()[0])


@contextmanager
def leaves_no_trace() -> Iterator[None]:
    """What happens inside may not change a single row."""
    before = everything_written()
    yield
    assert everything_written() == before
