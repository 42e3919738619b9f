"""Clients built on another MLS library share groups with ours; skipped where ``rine-mls`` is not installed."""

import os
from pathlib import Path
from typing import Any

import pytest
from openmls.client import Client, Group
from openmls.delivery import PublicGroup, key_package
from service import GROUP_ID

rine = pytest.importorskip("rine_mls")


@pytest.fixture
def stranger(tmp_path: Path) -> Any:
    return rine.MlsClient(str(tmp_path), os.urandom(32), 1)


def said(group: Any, body: bytes) -> bytes:
    """What its library frames with a tag of its own."""
    message: bytes = group.encrypt_application_message(body)
    return message[1:]


def joined(client: Client, followed: PublicGroup, made: Any) -> tuple[PublicGroup, Group]:
    _, after = followed.process_commit(made.commit, group_info=made.group_info, welcomes=made.welcomes)
    return after, client.join(made.welcomes[0], after.ratchet_tree())


def test_ours_lets_theirs_in(stranger: Any) -> None:
    ours = Client(b"alice").create_group(GROUP_ID)
    followed = PublicGroup.create(ours.group_info(), ours.ratchet_tree())
    package = key_package(stranger.generate_key_package())
    made = ours.commit(add=[package.raw], with_tree=True)
    assert made.welcome
    _, followed = followed.process_commit(made.commit, group_info=made.group_info, welcomes=[made.welcome])
    ours.confirm()
    theirs = stranger.join_from_welcome(made.welcome)
    assert ours.process(said(theirs, b"hello")).data == b"hello"
    renewed = ours.commit(update=True)
    _, followed = followed.process_commit(renewed.commit, group_info=renewed.group_info)
    ours.confirm()
    theirs.apply_commit(renewed.commit)
    assert (theirs.epoch(), followed.epoch) == (2, 2)
    assert ours.process(said(theirs, b"again")).data == b"again"


def test_theirs_lets_ours_in(stranger: Any) -> None:
    theirs = stranger.create_group(GROUP_ID)
    followed = PublicGroup.create(theirs.group_info())
    assert len(followed.members()) == 1
    bob, dave = Client(b"bob"), Client(b"dave")
    followed, ours = joined(bob, followed, theirs.add_member(bob.key_packages(1)[0]))
    made = theirs.add_member(dave.key_packages(1)[0])
    followed, other = joined(dave, followed, made)
    assert ours.process(made.commit).kind == "commit"
    gone = theirs.remove_member(other.own_leaf)
    _, followed = followed.process_commit(gone.commit, group_info=gone.group_info)
    ours.process(gone.commit)
    assert ours.ratchet_tree() == followed.ratchet_tree()
    assert ours.process(said(theirs, b"hello")).data == b"hello"


def test_external_joins_go_both_ways(stranger: Any) -> None:
    ours = Client(b"alice").create_group(GROUP_ID)
    followed = PublicGroup.create(ours.group_info(), ours.ratchet_tree())
    theirs = stranger.join_by_external_commit(ours.group_info(with_tree=True))
    made = theirs.last_commit()
    info, followed = followed.process_commit(made.commit, group_info=made.group_info)
    assert info.kind == "external_join"
    ours.process(made.commit)
    dave, bundle = Client(b"dave").join_external(made.group_info)
    _, followed = followed.process_commit(bundle.commit, group_info=bundle.group_info)
    ours.process(bundle.commit)
    theirs.apply_commit(bundle.commit)
    sent = said(theirs, b"hello")
    assert [group.process(sent).data for group in (ours, dave)] == [b"hello", b"hello"]
    assert dave.ratchet_tree() == followed.ratchet_tree()


def test_one_member_without_self_remove_forbids_it_to_all(stranger: Any) -> None:
    ours = Client(b"alice").create_group(GROUP_ID)
    ours.commit(add=[stranger.generate_key_package()])
    ours.confirm()
    assert [10 in member.proposals for member in ours.members()] == [True, False]
