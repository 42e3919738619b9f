"""The client, and the contract check on every answer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import orjson
import pytest
from django.db import connection
from django.test import Client

from catbird_mls.xrpc import lexicon
from catbird_mls.xrpc.auth import mint_development_token
from catbird_mls.xrpc.errors import GENERIC_NAMES
from tests.front_way import FrontWay

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


class Way(Protocol):
    """How a call gets to its answer."""

    def call(
        self, verb: str, path: str, *, query: Mapping[str, Any], body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]: ...


class ViewsWay:
    """Through Django's handler and ``urls.py``."""

    def __init__(self) -> None:
        self.client = Client(raise_request_exception=False)

    def call(
        self, verb: str, path: str, *, query: Mapping[str, Any], body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        if verb == "GET":
            response = self.client.get(path, data=query, headers=headers)
        else:
            response = self.client.post(path, data=body, content_type="application/json", headers=headers)
        return response.status_code, response.content


class Wire:
    """Calls methods as a client does and holds every answer against its lexicon."""

    def __init__(self, way: Way | None = None) -> None:
        self.way = way or ViewsWay()

    def call(self, method: str, *, by: str | None, **fields: Any) -> Answer:
        nsid = NAMESPACE + method
        headers = {"Authorization": f"Bearer {mint_development_token(by, nsid=nsid)}"} if by else {}
        if lexicon.kind(nsid) == "procedure":
            found = self.way.call("POST", f"/xrpc/{nsid}", query={}, body=orjson.dumps(fields), headers=headers)
        else:
            found = self.way.call("GET", f"/xrpc/{nsid}", query=fields, body=b"", headers=headers)
        answer = Answer(found[0], orjson.loads(found[1]))
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


@pytest.fixture(params=["views", "front"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """Every test that calls a method does so both ways, and both give the same answers."""
    if request.param == "views" or request.node.get_closest_marker("django_db") is None:
        yield Wire()
        return
    way = FrontWay()
    yield Wire(way)
    way.close()


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
