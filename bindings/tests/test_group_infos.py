"""GroupInfos: to start from, and of the epoch a commit leads to."""

import os
from collections.abc import Callable

import craft
import pytest
from openmls.client import Client, CommitBundle, Signer
from openmls.delivery import (
    CommitInfo,
    GroupInfoView,
    Policy,
    PublicGroup,
    group_info,
    peek,
    verify_group_info,
)
from service import GROUP_ID, start, three

Given = tuple[PublicGroup, CommitBundle, Client, Client]


@pytest.fixture
def given() -> Given:
    """The group, what Bob committed, Bob and Alice."""
    service, [alice, bob, _], [_, group, _] = three()
    return service.group(), group.commit(update=True), bob, alice


def test_what_can_be_read() -> None:
    client = Client(b"alice")
    group = client.create_group(GROUP_ID)
    view = group_info(group.group_info(with_tree=True))
    assert (view.group_id, view.epoch, view.ciphersuite, view.signer) == (GROUP_ID, 0, 1, 0)
    assert view.has_ratchet_tree
    assert view.ratchet_tree == group.ratchet_tree()
    assert view.external_pub
    assert len(view.external_pub) == 32
    assert set(view.extension_types) == {2, 4}
    followed = PublicGroup.create(group.group_info(), group.ratchet_tree())
    assert (view.tree_hash, view.group_context) == (followed.tree_hash, followed.group_context())
    assert view.confirmation_tag == followed.confirmation_tag
    assert view.confirmed_transcript_hash == b""
    bare = group_info(group.group_info())
    assert not bare.has_ratchet_tree
    assert bare.ratchet_tree is None
    outside = peek(group.group_info())
    assert (outside.wire_format, outside.group_id, outside.epoch) == ("group_info", GROUP_ID, 0)


def test_signatures(refused: Callable[..., str]) -> None:
    client, other = Client(b"alice"), Client(b"bob")
    data = client.create_group(GROUP_ID).group_info()
    assert verify_group_info(data, client.signer.public).epoch == 0
    assert refused(verify_group_info, data, other.signer.public) == "group_info.bad_signature"
    assert refused(verify_group_info, data, b"") == "group_info.bad_signature"


def test_a_group_starts_only_from_what_fits_together(refused: Callable[..., str]) -> None:
    alice, bob = Client(b"alice"), Client(b"bob")
    ours, theirs = alice.create_group(GROUP_ID), bob.create_group(GROUP_ID)
    create = PublicGroup.create
    assert refused(create, ours.group_info(), theirs.ratchet_tree()) == "group_info.bad_signature"
    assert refused(create, ours.group_info()) == "group_info.missing_tree"
    assert refused(create, ours.group_info(), b"") == "decode.truncated"
    view = group_info(ours.group_info())
    other_hash = view.group_context.replace(view.tree_hash, bytes(32))
    forged = craft.group_info(view, alice.signer, group_context=other_hash)
    assert refused(create, forged, ours.ratchet_tree()) == "group_info.tree_hash_mismatch"
    closed = craft.group_info(view, alice.signer, extensions=b"")
    assert refused(create, closed, ours.ratchet_tree()) == "group_info.missing_external_pub"
    nobody = craft.group_info(view, alice.signer, signer_index=5)
    assert refused(create, nobody, ours.ratchet_tree()) == "group_info.unknown_signer"
    broken = bytearray(ours.ratchet_tree())
    broken[-1] ^= 1
    assert refused(create, ours.group_info(), bytes(broken)).startswith("tree.")


def test_two_members_with_one_signature_key_are_no_group(refused: Callable[..., str]) -> None:
    service, [alice, _bob, _], [_, group, _] = three()
    bundle = group.commit(update=True, new_signer=alice.signer)
    outcome = refused(service.commit, bundle)
    assert outcome == "commit.duplicate_signature_key"
    group.confirm()
    assert refused(PublicGroup.create, bundle.group_info, group.ratchet_tree()) == "tree.duplicate_signature_key"


def answer(group: PublicGroup, made: CommitBundle, data: bytes | None, policy: Policy | None = None) -> CommitInfo:
    return group.process_commit(made.commit, group_info=data, policy=policy)[0]


def test_the_committers_own_is_accepted(given: Given) -> None:
    group, made, bob, _ = given
    view = group_info(made.group_info)
    assert craft.group_info(view, bob.signer) == made.group_info
    assert answer(group, made, made.group_info).epoch_after == view.epoch


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (lambda v, bob, alice: craft.group_info(v, bob, confirmation_tag=bytes(32)), "confirmation_tag_mismatch"),
        (lambda v, bob, alice: craft.group_info(v, alice, signer_index=0), "signer_mismatch"),
        (lambda v, bob, alice: craft.group_info(v, alice), "bad_signature"),
        (lambda v, bob, alice: craft.group_info(v, bob, extensions=b""), "missing_external_pub"),
        (lambda v, bob, alice: craft.group_info(v, bob, extensions=craft.external_pub(b"k")), "malformed_external_pub"),
        (
            lambda v, bob, alice: craft.group_info(v, bob, extensions=craft.u16(4) + craft.vector(os.urandom(32))),
            "malformed_external_pub",
        ),
        (
            lambda v, bob, alice: craft.group_info(v, bob, group_context=v.group_context.replace(b"room-1", b"room-2")),
            "context_mismatch",
        ),
    ],
)
def test_a_forged_one_is_refused(
    refused: Callable[..., str],
    given: Given,
    forge: Callable[[GroupInfoView, object, object], bytes],
    code: str,
) -> None:
    group, made, bob, alice = given
    forged = forge(group_info(made.group_info), bob.signer, alice.signer)
    assert refused(answer, group, made, forged) == f"group_info.{code}"


def test_one_of_another_epoch_or_commit_is_refused(refused: Callable[..., str]) -> None:
    service, _, [_, bob, carol] = three()
    old = service.group_info
    made, other = bob.commit(update=True), carol.commit(update=True)
    group = service.group()
    assert refused(answer, group, made, old) == "group_info.context_mismatch"
    assert refused(answer, group, made, other.group_info) == "group_info.context_mismatch"
    assert refused(answer, group, made, made.commit) == "decode.wrong_type"


def test_a_missing_one_is_for_the_policy(refused: Callable[..., str], given: Given) -> None:
    group, made, _, _ = given
    assert refused(answer, group, made, None, Policy(require_group_info=True)) == "commit.missing_group_info"
    assert answer(group, made, None).epoch_after == 2


def test_a_tree_inside_must_be_the_new_tree(refused: Callable[..., str]) -> None:
    service, [_, bob_client, _], [_, bob, _] = three()
    made = bob.commit(update=True, with_tree=True)
    view = group_info(made.group_info)
    old_tree = craft.u16(2) + craft.vector(service.ratchet_tree)
    forged = craft.group_info(
        view, bob_client.signer, extensions=old_tree + craft.external_pub(view.external_pub or b"")
    )
    group = service.group()
    before = service.group()
    assert refused(answer, group, made, forged) == "group_info.tree_mismatch"
    assert group == before
    assert answer(group, made, made.group_info).epoch_after == 2


def test_a_new_signer_signs_the_group_info(refused: Callable[..., str]) -> None:
    service, [_, bob_client, _], [_, bob, _] = three()
    made = bob.commit(new_signer=Signer.generate())
    info = answer(service.group(), made, made.group_info)
    assert info.committer_signature_key == info.updated[0].new_signature_key
    with_old_key = craft.group_info(group_info(made.group_info), bob_client.signer)
    assert refused(answer, service.group(), made, with_old_key) == "group_info.bad_signature"


def test_a_wrong_but_well_formed_external_pub_is_beyond_a_server(given: Given) -> None:
    group, made, bob, _ = given
    view = group_info(made.group_info)
    forged = craft.group_info(view, bob.signer, extensions=craft.external_pub(os.urandom(32)))
    assert answer(group, made, forged).epoch_after == 2


def test_the_group_id_is_only_as_good_as_the_signer() -> None:
    _service, alice, group = start()
    view = group_info(group.group_info())
    moved = craft.group_info(view, alice.signer, group_context=view.group_context.replace(GROUP_ID, b"room-9"))
    assert PublicGroup.create(moved, group.ratchet_tree()).group_id == b"room-9"
