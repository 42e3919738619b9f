"""Every answer of the XRPC surface has one form, errors above all."""

import logging
from typing import Any

import pytest
from django.test import Client

from catbird_mls.xrpc.auth import mint_development_token
from catbird_mls.xrpc.views import without_nulls
from conversations.xrpc import get_convos
from tests.devices import ALICE

PATH = "/xrpc/blue.catbird.mls."


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {mint_development_token(ALICE)}"})


@pytest.mark.parametrize("method", ["get", "post", "put"])
def test_an_unknown_method_is_not_implemented(client: Client, method: str) -> None:
    response = getattr(client, method)("/xrpc/blue.catbird.mls.addReaction")
    assert (response.status_code, response.json()["error"]) == (501, "MethodNotImplemented")


@pytest.mark.parametrize(("method", "verb"), [("getConvos", "post"), ("sendMessage", "get"), ("getConvos", "delete")])
def test_the_wrong_verb_is_an_invalid_request(client: Client, method: str, verb: str) -> None:
    response = getattr(client, verb)(PATH + method)
    assert (response.status_code, response.json()["error"]) == (400, "InvalidRequest")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"x"', b"\xff", b'{"convoId": NaN}'])
def test_a_body_is_a_json_object(client: Client, body: bytes) -> None:
    response = client.post(PATH + "sendMessage", data=body, content_type="application/json")
    assert (response.status_code, response.json()["error"]) == (400, "InvalidRequest")


def test_the_first_complaint_names_its_place(client: Client) -> None:
    response = client.post(PATH + "publishKeyPackages", data={"keyPackages": [[]]}, content_type="application/json")
    assert response.json()["message"].startswith("keyPackages.0: ")


@pytest.mark.django_db
def test_unknown_fields_are_ignored_and_nulls_are_absent(client: Client) -> None:
    assert client.get(PATH + "getConvos?surprise=1").status_code == 200
    given = {"deviceId": None, "surprise": 1}
    response = client.post(PATH + "deleteDevice", data=given, content_type="application/json")
    assert response.json()["message"].startswith("deviceId: ")


def test_what_is_unforeseen_is_told_without_detail(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(get_convos, "convo_page", fail)
    with caplog.at_level(logging.CRITICAL, "catbird_mls.xrpc.views"):
        response = client.get(PATH + "getConvos")
    assert (response.status_code, response.json()["error"]) == (500, "InternalServerError")
    assert "42" not in response.content.decode()


def test_the_wire_knows_no_null() -> None:
    assert without_nulls({"a": None, "b": [{"c": None, "d": 0}], "e": ""}) == {"b": [{"d": 0}], "e": ""}


def test_a_refused_token_says_how_to_come_in(client: Client) -> None:
    response = Client().get(PATH + "getConvos")
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
