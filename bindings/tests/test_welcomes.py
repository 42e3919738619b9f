"""Welcomes: whom they let in, and that a commit and its Welcomes agree."""

from collections.abc import Callable

import craft
import pytest
from openmls.client import Client
from openmls.delivery import Limits, key_package, peek, welcome
from service import start, three


def test_whom_a_welcome_lets_in() -> None:
    _, _, alice = start()
    packages = [Client(name).key_packages(1)[0] for name in (b"bob", b"carol")]
    made = alice.commit(add=packages).welcome
    assert made
    info = welcome(made)
    assert info.ciphersuite == 1
    assert set(info.references) == {key_package(package).reference for package in packages}
    assert welcome(made[4:]).references == info.references
    outside = peek(made)
    assert (outside.wire_format, outside.ciphersuite, outside.group_id) == ("welcome", 1, None)


def test_what_is_no_welcome(refused: Callable[..., str]) -> None:
    _, _, alice = start()
    bundle = alice.commit(add=Client(b"bob").key_packages(1))
    assert bundle.welcome
    assert refused(welcome, bundle.commit) == "decode.wrong_type"
    assert refused(welcome, bundle.welcome[:-1]) == "decode.truncated"
    assert refused(welcome, bundle.welcome + b"\0") == "decode.trailing_data"
    assert refused(welcome, b"") == "decode.truncated"
    assert refused(welcome, bundle.welcome, limits=Limits(max_tree_bytes=50)) == "limit.message_size"
    other = bundle.welcome[:4] + craft.u16(0x4D) + bundle.welcome[6:]
    assert refused(welcome, other) == "unsupported.ciphersuite"
    assert peek(other).ciphersuite == 0x4D


def made_of(references: list[bytes], suite: int = 1) -> bytes:
    secrets = b"".join(craft.vector(ref) + craft.vector(bytes(32)) + craft.vector(bytes(48)) for ref in references)
    return b"\0\1\0\3" + craft.u16(suite) + craft.vector(secrets) + craft.vector(bytes(64))


def test_a_package_named_twice_is_refused(refused: Callable[..., str]) -> None:
    assert refused(welcome, made_of([bytes(32), bytes(32)])) == "welcome.duplicate_reference"


def test_a_commit_and_its_welcomes_agree(refused: Callable[..., str]) -> None:
    service, _, [alice, _, _] = three()
    packages = [Client(name).key_packages(1)[0] for name in (b"dave", b"erin")]
    dave, erin = (key_package(package).reference for package in packages)
    commit = alice.commit(add=packages).commit
    group = service.group()

    def given(*welcomes: bytes) -> str:
        return refused(group.process_commit, commit, welcomes=welcomes)

    assert given() == "welcome.missing"
    assert given(made_of([dave])) == "welcome.missing"
    assert given(made_of([dave, erin, bytes(32)])) == "welcome.unexpected"
    assert given(made_of([dave, erin]), made_of([erin])) == "welcome.duplicate_reference"
    assert given(made_of([dave, erin], suite=3)) == "welcome.ciphersuite"
    assert group == service.group()
    for welcomes in ([made_of([dave, erin])], [made_of([erin]), made_of([dave])]):
        assert len(group.process_commit(commit, welcomes=welcomes)[0].added) == 2


@pytest.mark.parametrize("references", [[], [bytes(32)]])
def test_a_commit_that_adds_nobody_has_no_welcome(refused: Callable[..., str], references: list[bytes]) -> None:
    service, _, [alice, _, _] = three()
    commit = alice.commit(update=True).commit
    if references:
        assert refused(service.group().process_commit, commit, welcomes=[made_of(references)]) == "welcome.unexpected"
    assert service.group().process_commit(commit)[0].added == ()
