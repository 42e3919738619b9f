"""key_package: valid, or refused with the reason."""

import time
from collections.abc import Callable
from typing import Any

import craft
import pytest
from openmls.client import Client, Signer
from openmls.delivery import Limits, key_package, peek

NOW = int(time.time())
DAY = 86400


def test_raw_and_wrapped_are_the_same_package() -> None:
    client = Client(b"alice")
    [wrapped] = client.key_packages(1)
    info = key_package(wrapped)
    assert info.raw == wrapped[4:]
    assert key_package(info.raw).reference == info.reference
    assert len(info.reference) == 32
    assert (info.ciphersuite, info.credential_type, info.identity) == (1, 1, b"alice")
    assert info.signature_key == client.signer.public
    assert len({info.init_key, info.encryption_key, info.signature_key}) == 3
    assert set(info.ciphersuites) == {1, 2, 3}
    assert (info.extensions, info.proposals, info.credentials) == ((10,), (10,), (1,))
    assert not info.last_resort
    assert info.not_before < NOW + 5 < info.not_after < NOW + 85 * DAY


def test_last_resort_is_marked() -> None:
    [package] = Client(b"alice").key_packages(1, last_resort=True)
    assert key_package(package).last_resort


def test_a_crafted_package_is_accepted() -> None:
    signer = Signer.generate()
    info = key_package(craft.key_package(signer, b"alice"))
    assert (info.identity, info.signature_key) == (b"alice", signer.public)


@pytest.mark.parametrize(
    ("lifetime", "code"),
    [
        ((NOW - 100, NOW - 50), "key_package.expired"),
        ((NOW + DAY, NOW + 2 * DAY), "key_package.not_yet_valid"),
        ((NOW - 1, NOW + 500 * DAY), "key_package.lifetime_too_long"),
        ((0, 2**64 - 1), "key_package.lifetime_too_long"),
    ],
)
def test_lifetimes(refused: Callable[..., str], lifetime: tuple[int, int], code: str) -> None:
    [package] = Client(b"alice").key_packages(1, lifetime=lifetime)
    assert refused(key_package, package) == code


def test_the_longest_lifetime_is_a_limit(refused: Callable[..., str]) -> None:
    [package] = Client(b"alice").key_packages(1, lifetime=10 * DAY)
    key_package(package, limits=Limits(max_lifetime_seconds=11 * DAY))
    assert refused(key_package, package, limits=Limits(max_lifetime_seconds=9 * DAY)).endswith("lifetime_too_long")


KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"suites": (2, 3)}, "key_package.capabilities"),
        ({"versions": (2,)}, "key_package.capabilities"),
        ({"credentials": (2,)}, "key_package.capabilities"),
        ({"extensions": craft.u16(0x7A7B) + craft.vector(b"x")}, "key_package.capabilities"),
        ({"package_extensions": craft.u16(10) + craft.vector(b""), "extension_types": ()}, None),
        ({"init_key": KEY, "encryption_key": KEY}, "key_package.key_reuse"),
        ({"package_extensions": craft.external_pub(KEY)}, None),
    ],
)
def test_what_a_package_must_not_be(refused: Callable[..., str], changes: dict[str, Any], code: str | None) -> None:
    found = refused(key_package, craft.key_package(Signer.generate(), b"alice", **changes))
    assert found == code if code else found.startswith(("key_package.", "decode."))


def test_a_leaf_from_an_update_is_no_package(refused: Callable[..., str]) -> None:
    signer = Signer.generate()
    node = craft.leaf_node(signer, b"alice", b"\2")
    body = craft.u16(1) + craft.u16(1) + craft.vector(bytes(32)) + node + craft.vector(b"")
    package = body + craft.signed(signer, b"KeyPackageTBS", body)
    assert refused(key_package, package).startswith("key_package.bad_leaf")


def test_every_changed_byte_is_noticed(refused: Callable[..., str]) -> None:
    [package] = Client(b"alice").key_packages(1)
    raw = key_package(package).raw
    codes = set()
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 0x40
        codes.add(refused(key_package, bytes(changed)))
    assert not any(code.startswith("internal.") for code in codes)


def test_lengths_and_types(refused: Callable[..., str]) -> None:
    [package] = Client(b"alice").key_packages(1)
    assert refused(key_package, b"") == "decode.truncated"
    assert refused(key_package, package[:-1]) == "decode.truncated"
    assert refused(key_package, package + b"\0") == "decode.trailing_data"
    assert refused(key_package, b"\0\2" + package[2:]).startswith(("unsupported.", "decode."))
    assert refused(key_package, package, limits=Limits(max_message_bytes=100)) == "limit.message_size"
    assert refused(key_package, Client(b"a").create_group(b"g").group_info()) == "decode.wrong_type"


def test_suites_are_a_limit_and_unknown_ones_can_still_be_peeked(refused: Callable[..., str]) -> None:
    [package] = Client(b"alice").key_packages(1)
    assert refused(key_package, package, limits=Limits(ciphersuites=[2])) == "unsupported.ciphersuite"
    other = package[:6] + craft.u16(0x4D) + package[8:]
    assert refused(key_package, other) == "unsupported.ciphersuite"
    assert refused(key_package, other, limits=Limits(ciphersuites=[0x4D])) == "unsupported.ciphersuite"
    assert (peek(other).wire_format, peek(other).ciphersuite) == ("key_package", 0x4D)
