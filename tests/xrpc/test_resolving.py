"""From a DID to its key, past hosts that are slow, wrong or up to something."""

import time
from typing import Any

import pytest
from django.conf import LazySettings

from catbird_mls.xrpc import resolving
from catbird_mls.xrpc.auth import authenticate
from catbird_mls.xrpc.errors import InvalidToken, NotEnoughResources
from catbird_mls.xrpc.fetching import Missing, Unreachable
from catbird_mls.xrpc.resolving import resolver
from tests.live import free_port
from tests.races.threads import at_once
from tests.xrpc.identities import ES256, NSID, Account, Hosts, admitted, refused, web_account

PATIENCE_SECONDS = 20


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/.well-known/did.json"),
        (":users:alice", "/users/alice/did.json"),
        (":a-b.c_d", "/a-b.c_d/did.json"),
    ],
)
def test_a_web_did_is_where_its_name_says(hosts: Hosts, path: str, asked: str) -> None:
    account = web_account(hosts.web, path=path)
    hosts.web.publish(account)
    assert admitted(account)
    assert hosts.web.asked == [asked]


@pytest.mark.parametrize(
    "did",
    [
        "did:web:localhost%3A{port}:..:admin",
        "did:web:localhost%3A{port}:.",
        "did:web:localhost%3A{port}:",
        "did:web:localhost%3A{port}::a",
        "did:web:localhost%3A{port}:a%2Fb",
        "did:web:localhost%3a{port}",
        "did:web:localhost:{port}%3A1",
        "did:web:user%40localhost%3A{port}",
        "did:web:localhost%3A{port}%3A1",
        "did:web:localhost%3A99999",
        "did:web:LOCALHOST%3A{port}",
        "did:web:-localhost",
        "did:web:",
        "did:plc:../{port}",
        "did:plc:ABCDEFGHIJKLMNOPQRSTUVWX",
        "did:plc:abcdefghijklmnopqrstuvwx2",
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        "did:tdw:localhost%3A{port}",
    ],
)
def test_other_names_lead_nowhere(hosts: Hosts, did: str) -> None:
    account = Account(did=did.format(port=hosts.web.port))
    for path in ("/.well-known/did.json", "/admin/did.json", "/did.json", "/a/b/did.json", "/a/did.json"):
        hosts.web.show(path, account.document())
    refused(account)
    assert (hosts.web.asked, hosts.directory.asked) == ([], [])


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"did"',
        {},
        {"verificationMethod": []},
        {"verificationMethod": {"id": "#atproto"}},
        {"verificationMethod": ["#atproto", None, 7]},
        {"id": "did:plc:another"},
    ],
)
def test_a_document_is_of_its_account_and_has_its_key(hosts: Hosts, document: Any) -> None:
    account = Account()
    given = document if isinstance(document, bytes) else {"id": account.did} | document
    hosts.directory.show(f"/{account.did}", given)
    refused(account)


def test_a_document_of_another_account_is_not_believed(hosts: Hosts) -> None:
    account, mallory = Account(), Account()
    hosts.directory.show(f"/{account.did}", mallory.document(id="#atproto"))
    with pytest.raises(InvalidToken):
        authenticate(mallory.bearer(iss=account.did), NSID, procedure=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "#atproto_label"},
        {"id": "did:plc:another#atproto"},
        {"type": "Ed25519VerificationKey2020"},
        {"publicKeyMultibase": None},
        {"publicKeyMultibase": 7},
        {"publicKeyMultibase": "z"},
        {"publicKeyMultibase": "zQ3s0OIl"},
        {"publicKeyMultibase": "f" + "e701" + "02" * 33},
        {"publicKeyMultibase": "z" + "1" * 200},
        {"type": "JsonWebKey2020"},
        {"type": "JsonWebKey2020", "publicKeyJwk": {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}},
        {"type": "JsonWebKey2020", "publicKeyJwk": {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}},
    ],
)
def test_a_key_is_one_that_accounts_sign_with(hosts: Hosts, changes: dict[str, Any]) -> None:
    account = Account()
    hosts.directory.publish(account, **changes)
    refused(account)


def test_a_key_among_others_is_found(hosts: Hosts) -> None:
    account = Account(ES256)
    document = account.document()
    document["verificationMethod"].insert(0, {"id": f"{account.did}#other", "type": "Multikey"})
    document["verificationMethod"][1]["id"] = "#atproto"
    hosts.directory.show(f"/{account.did}", document)
    assert admitted(account)


def test_a_key_is_asked_for_once(hosts: Hosts) -> None:
    account = Account()
    hosts.directory.publish(account)
    assert all(admitted(account) for _ in range(3))
    resolver.forget()
    assert admitted(account), "the bus has it"
    assert hosts.directory.asked == [f"/{account.did}"]


def test_many_who_ask_at_once_ask_once(hosts: Hosts) -> None:
    account = Account()
    hosts.directory.publish(account)
    assert at_once([lambda: admitted(account)] * 8) == [True] * 8
    assert hosts.directory.asked == [f"/{account.did}"]


def test_a_rotated_key_is_learnt_from_the_first_signature_it_makes(hosts: Hosts) -> None:
    account = Account()
    hosts.directory.publish(account)
    assert admitted(account)
    before = account.bearer(lxm="blue.catbird.mls.getEpoch")
    account.rotate()
    hosts.directory.publish(account)
    assert admitted(account)
    with pytest.raises(InvalidToken):
        authenticate(before, "blue.catbird.mls.getEpoch", procedure=False)


def test_forged_signatures_ask_for_the_key_once_a_minute(hosts: Hosts) -> None:
    account = Account()
    hosts.directory.publish(account)
    assert admitted(account)
    account.rotate()
    for _ in range(5):
        refused(account)
    assert len(hosts.directory.asked) == 2


def test_an_account_that_is_not_there_is_not_asked_for_again(hosts: Hosts) -> None:
    account = Account()
    for _ in range(3):
        refused(account)
    assert hosts.directory.asked == [f"/{account.did}"]


def test_an_old_key_serves_while_it_is_asked_for_again(hosts: Hosts, settings: LazySettings) -> None:
    account = Account()
    hosts.directory.publish(account)
    settings.CATBIRD_DID_CACHE_SECONDS = 0
    assert admitted(account)
    hosts.directory.pages.clear()
    assert admitted(account), "the directory has not answered yet"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(hosts.directory.asked) < 2 or not _is_missing(account.did):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    refused(account)


def _is_missing(did: str) -> bool:
    try:
        return resolver.known_key(did) is None
    except Missing:
        return True


def test_an_old_key_serves_while_the_directory_is_down(hosts: Hosts, settings: LazySettings) -> None:
    account = Account()
    hosts.directory.publish(account)
    settings.CATBIRD_DID_CACHE_SECONDS = 0
    assert admitted(account)
    settings.CATBIRD_PLC_URL = f"http://127.0.0.1:{free_port()}"
    resolver.forget()
    assert admitted(account), "the bus has it"
    time.sleep(0.2)
    assert admitted(account)


def test_while_the_directory_is_down_nobody_is_told_to_log_in_again(hosts: Hosts, settings: LazySettings) -> None:
    settings.CATBIRD_PLC_URL = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(NotEnoughResources):
        authenticate(Account().bearer(), NSID, procedure=False)


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch, hosts: Hosts) -> None:
    monkeypatch.setattr(resolving, "KEPT_MAX", 2)
    accounts = [Account() for _ in range(4)]
    for account in accounts:
        hosts.directory.publish(account)
        assert admitted(account)
    assert [account.did for account in accounts if resolver.known_key(account.did)] == [
        account.did for account in accounts[2:]
    ]


def test_an_unreachable_host_is_named_so(hosts: Hosts) -> None:
    account = Account(did=f"did:web:localhost%3A{free_port()}")
    with pytest.raises(Unreachable):
        resolver.key(account.did)
