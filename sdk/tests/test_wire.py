"""Bytes on the wire, padding, key packages."""

import pytest
from openmls.client import Client as Engine
from openmls.delivery import key_package

from catbird.packages import LIFETIME_SECONDS, choose, make
from catbird.payload import BadPayload, bucket, pad, read_payload, text_payload, unpad
from catbird.wire import BadAnswer, Json, as_bytes, basic_identity, decode, encode, entry


@pytest.mark.parametrize("value", ["+/8=", "+/8", "-_8=", "-_8", " +/\n8= ", {"$bytes": "-_8"}])
def test_bytes_are_read_in_any_spelling(value: object) -> None:
    assert decode(value) == b"\xfb\xff"


@pytest.mark.parametrize("value", [None, 3, {}, "a", "????", {"$bytes": None}])
def test_what_is_no_base64_is_refused(value: object) -> None:
    with pytest.raises(BadAnswer):
        decode(value)


def test_bytes_are_written_in_one_spelling() -> None:
    assert encode(b"\xfb\xff") == "+/8="
    assert as_bytes(b"\xfb\xff") == {"$bytes": "+/8="}


@pytest.mark.parametrize("identity", [b"", b"d" * 63, b"d" * 64, b"did:web:localhost", b"d" * 20_000])
def test_the_identity_of_a_credential_is_read_whatever_its_length(identity: bytes) -> None:
    assert basic_identity(b"\0\1" + vector(identity)) == identity


def vector(data: bytes) -> bytes:
    """RFC 9420 section 2.1.2."""
    size = len(data)
    for exponent in range(3):
        width = 1 << exponent
        if size < 1 << (8 * width - 2):
            return (exponent << (8 * width - 2) | size).to_bytes(width, "big") + data
    raise AssertionError("too long")


@pytest.mark.parametrize(
    "credential", [b"", b"\0\1", b"\0\2\1d", b"\0\1\2d", b"\0\1\1dd", b"\0\1\x40", b"\0\1\xc0d"]
)
def test_a_credential_that_is_no_basic_one_is_refused(credential: bytes) -> None:
    with pytest.raises(BadAnswer):
        basic_identity(credential)


@pytest.mark.parametrize("broken", [{}, {"id": "m"}, {"seq": "x"}])
def test_a_message_view_that_cannot_be_read_is_refused(broken: Json) -> None:
    with pytest.raises(BadAnswer):
        entry(broken)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, 512),
        (512, 512),
        (513, 1024),
        (1025, 2048),
        (2049, 4096),
        (4097, 8192),
        (8192, 8192),
        (8193, 16384),
        (16385, 24576),
    ],
)
def test_sizes_shown_are_few(size: int, expected: int) -> None:
    assert bucket(size) == expected


@pytest.mark.parametrize("length", [0, 1, 507, 508, 509, 8188, 8189, 20000])
def test_padding_is_undone(length: int) -> None:
    padded = pad(b"x" * length)
    assert len(padded) == bucket(length + 4)
    assert unpad(padded) == b"x" * length


@pytest.mark.parametrize("body", [b"", b"\0\0\0", b"\0\0\0\x05abcd", pad(b"nope"), pad(b"[1]"), pad(b"\xff")])
def test_a_body_that_is_no_payload_is_refused(body: bytes) -> None:
    with pytest.raises(BadPayload):
        read_payload(body)


def test_text_comes_back_as_it_was() -> None:
    assert read_payload(pad(text_payload("grüße 🐦"))) == {
        "version": 1,
        "messageType": "text",
        "text": "grüße 🐦",
    }


def offer(did: str, identity: str | None = None) -> tuple[Engine, Json]:
    engine = Engine((identity or did).encode())
    return engine, {"did": did, **make(engine, 1)[0]}


def test_a_package_says_when_it_ends() -> None:
    _, item = offer("did:plc:bob")
    info = key_package(decode(item["keyPackage"]))
    assert info.not_after - info.not_before >= LIFETIME_SECONDS
    assert item["expires"].endswith("Z")
    assert item["cipherSuite"] == "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"


def test_one_package_a_device_and_none_for_those_present() -> None:
    present, first = offer("did:plc:bob")
    absent, second = offer("did:plc:bob")
    again = {"did": "did:plc:bob", **make(absent, 1)[0]}
    chosen, without = choose([first, second, again], ["did:plc:bob"], {present.signer.public})
    assert [package.data for package in chosen] == [decode(second["keyPackage"])]
    assert without == []


LIES: list[Json] = [
    offer("did:plc:bob", identity="did:plc:mallory")[1],
    offer("did:plc:mallory")[1],
    {"did": "did:plc:bob", "keyPackage": encode(b"garbage")},
    {"did": "did:plc:bob"},
]


@pytest.mark.parametrize("item", LIES)
def test_a_server_cannot_slip_in_somebody_else(item: Json) -> None:
    assert choose([item], ["did:plc:bob"], set()) == ([], ["did:plc:bob"])
