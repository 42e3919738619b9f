import asyncio
from typing import Any

import httpx
import pytest

from catbird import (
    DevAuth,
    EpochMismatch,
    Gone,
    InvalidCommit,
    KeyPackageNotFound,
    NotFound,
    NotMember,
    RateLimited,
    Unavailable,
    XrpcError,
)
from catbird.errors import GroupInfoUnavailable, NotAdmin, TooManyKeyPackages, xrpc_error
from catbird.xrpc import MAX_ATTEMPTS, Xrpc

Answer = httpx.Response | Exception


class Wire:
    """Gives prepared answers, and keeps what was asked and how long was waited."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def query(self) -> dict[str, Any]:
        return asyncio.run(
            self._ask("query", "getEpoch", convoId="c", flag=True, absent=None, dids=["a", "b"])
        )

    def procedure(self, *, idempotent: bool) -> dict[str, Any]:
        return asyncio.run(self._ask("procedure", "sendMessage", {"convoId": "c"}, idempotent=idempotent))

    async def _ask(self, kind: str, *given: Any, **named: Any) -> dict[str, Any]:
        auth = DevAuth("did:plc:alice", "secret", "did:web:localhost")
        transport = httpx.MockTransport(self)
        xrpc = Xrpc("http://test", auth, transport=transport, sleep=self.sleep, jitter=lambda: 0.5)
        try:
            answer: dict[str, Any] = await getattr(xrpc, kind)(*given, **named)
            return answer
        finally:
            await xrpc.close()


def ok(**body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def refused(status: int, name: str = "Name", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": name, "message": "why"}, headers=headers)


def test_a_query_carries_its_parameters_and_a_token_of_its_method() -> None:
    wire = Wire(ok(currentEpoch=3))
    assert wire.query() == {"currentEpoch": 3}
    (request,) = wire.requests
    assert request.url.path == "/xrpc/blue.catbird.mls.getEpoch"
    assert request.url.query == b"convoId=c&flag=true&dids=a&dids=b"
    assert request.headers["authorization"].startswith("Bearer ")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_query_is_asked_again_while_nobody_can_answer(status: int) -> None:
    wire = Wire(httpx.ConnectError("down"), refused(status), ok())
    assert wire.query() == {}
    assert wire.waits == [0.5, 1.0]


def test_every_attempt_has_a_token_of_its_own() -> None:
    wire = Wire(refused(503), ok())
    wire.procedure(idempotent=True)
    tokens = {request.headers["authorization"] for request in wire.requests}
    assert len(tokens) == 2


def test_a_procedure_that_must_not_be_repeated_is_asked_once() -> None:
    wire = Wire(refused(503))
    with pytest.raises(Unavailable):
        wire.procedure(idempotent=False)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")]
)
def test_attempts_end_and_the_error_says_that_nothing_is_known(error: Exception) -> None:
    wire = Wire(*[error] * MAX_ATTEMPTS)
    with pytest.raises(Unavailable, match="NoAnswer"):
        wire.procedure(idempotent=True)
    assert len(wire.requests) == MAX_ATTEMPTS


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 500, 501])
def test_other_refusals_are_final(status: int) -> None:
    wire = Wire(refused(status))
    with pytest.raises(XrpcError) as caught:
        wire.query()
    assert (caught.value.status, caught.value.name, caught.value.message) == (status, "Name", "why")
    assert wire.waits == []


def test_a_rate_limit_is_waited_for_as_long_as_asked() -> None:
    wire = Wire(httpx.Response(429, json={"error": "RateLimitExceeded"}, headers={"retry-after": "3"}), ok())
    assert wire.query() == {}
    assert wire.waits == [3.5]


def test_a_rate_limit_that_lasts_too_long_is_told_to_the_caller() -> None:
    wire = Wire(httpx.Response(429, json={}, headers={"retry-after": "3600"}))
    with pytest.raises(RateLimited) as caught:
        wire.query()
    assert caught.value.retry_after == 3600


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
def test_a_success_without_an_object_leaves_the_outcome_open(body: bytes) -> None:
    wire = Wire(httpx.Response(200, content=body))
    with pytest.raises(Unavailable, match="BadAnswer"):
        wire.procedure(idempotent=False)


@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (409, "EpochMismatch", EpochMismatch),
        (409, "KeyPackageNotFound", KeyPackageNotFound),
        (409, "AlreadyMember", XrpcError),
        (403, "NotMember", NotMember),
        (403, "Unauthorized", XrpcError),
        (403, "NotAdmin", NotAdmin),
        (404, "WelcomeNotFound", NotFound),
        (404, "GroupInfoUnavailable", GroupInfoUnavailable),
        (400, "TooManyKeyPackages", TooManyKeyPackages),
        (404, "", XrpcError),
        (410, "", XrpcError),
        (410, "WelcomeConsumed", Gone),
        (400, "InvalidCommit", InvalidCommit),
        (429, "", RateLimited),
        (503, "NotEnoughResources", Unavailable),
        (418, "Teapot", XrpcError),
    ],
)
def test_the_name_decides_and_the_status_stands_in(status: int, name: str, expected: type[XrpcError]) -> None:
    assert type(xrpc_error(status, {"error": name})) is expected


def test_errors_give_what_code_needs() -> None:
    mismatch = xrpc_error(409, {"error": "EpochMismatch", "currentEpoch": 8})
    missing = xrpc_error(409, {"error": "KeyPackageNotFound", "message": "did:plc:bob hash=ab12 is gone"})
    left_out = xrpc_error(400, {"error": "InvalidCommit", "message": "commit.pending_removal_left_out: 2"})
    assert isinstance(mismatch, EpochMismatch)
    assert mismatch.current_epoch == 8
    assert isinstance(missing, KeyPackageNotFound)
    assert missing.hash == "ab12"
    assert isinstance(left_out, InvalidCommit)
    assert left_out.left_out_removal
