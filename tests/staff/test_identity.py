"""The server's DID document."""

import base58
import pytest
from django.conf import LazySettings
from django.test import Client

from conversations.framing import external_sender_keys
from tests.devices import ALICE, Phone
from tests.situations import server_key


def test_it_tells_where_the_service_is_and_what_it_signs_with(client: Client) -> None:
    document = client.get("/.well-known/did.json").json()
    assert document["id"] == "did:web:localhost"
    assert document["service"] == [
        {"id": "#atproto_mls", "type": "AtprotoMlsService", "serviceEndpoint": "https://localhost"}
    ]
    ed25519, p256 = document["verificationMethod"]
    assert ed25519["id"] == "did:web:localhost#mls_external_sender"
    assert base58.b58decode(ed25519["publicKeyMultibase"][1:]) == b"\xed\x01" + server_key(Phone(ALICE))
    keys = external_sender_keys()
    assert keys is not None
    compressed = base58.b58decode(p256["publicKeyMultibase"][1:])
    assert compressed[:2] == b"\x80\x24"
    assert compressed[2] in {2, 3}
    assert compressed[3:] == keys[1][1:33]


def test_a_port_is_part_of_the_host(client: Client, settings: LazySettings) -> None:
    settings.SERVICE_DID = "did:web:mls.example.org%3A8443"
    document = client.get("/.well-known/did.json").json()
    assert document["service"][0]["serviceEndpoint"] == "https://mls.example.org:8443"


@pytest.mark.parametrize("secrets", [()])
def test_without_a_secret_there_is_no_key(client: Client, settings: LazySettings, secrets: tuple[str, ...]) -> None:
    settings.EXTERNAL_SENDER_SECRETS = secrets
    assert client.get("/.well-known/did.json").json()["verificationMethod"] == []


def test_another_kind_of_did_is_resolved_elsewhere(client: Client, settings: LazySettings) -> None:
    settings.SERVICE_DID = "did:plc:ourselves"
    assert client.get("/.well-known/did.json").status_code == 404
