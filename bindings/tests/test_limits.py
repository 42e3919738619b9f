"""Sizes and node counts are looked at before anything is parsed."""

import time
from collections.abc import Callable

import craft
import pytest
from openmls.client import Client
from openmls.delivery import Limits, Policy, PublicGroup, group_info
from service import GROUP_ID, start

MIB = 1024 * 1024


def test_defaults() -> None:
    limits = Limits()
    assert (limits.max_message_bytes, limits.max_tree_bytes, limits.max_members) == (4 * MIB, 8 * MIB, 2000)
    assert (limits.max_pending_proposals, limits.max_pending_proposals_per_member) == (256, 32)
    assert (limits.max_lifetime_seconds, limits.ciphersuites) == (400 * 86400, (1, 2, 3))
    assert Limits(ciphersuites=[2]).ciphersuites == (2,)
    policy = Policy()
    assert (policy.allow_custom, policy.allow_reinit, policy.allow_psk) == (False, False, True)
    assert (policy.allow_external_join, policy.credential_may_change, policy.require_group_info) == (True, False, False)


def bomb(tree: bytes, blanks: int) -> bytes:
    """The one leaf at both ends of a row of blank nodes."""
    leaf = tree[2:]
    return craft.vector(leaf + bytes(blanks) + leaf)


def test_a_blank_bomb_is_refused_in_no_time(refused: Callable[..., str]) -> None:
    client = Client(b"alice")
    group = client.create_group(GROUP_ID)
    tree = bomb(group.ratchet_tree(), MIB - 1)
    view = group_info(group.group_info())
    inside = craft.u16(2) + craft.vector(tree) + craft.external_pub(view.external_pub or b"")
    carrying = craft.group_info(view, client.signer, extensions=inside)
    twice = craft.group_info(view, client.signer, extensions=inside + craft.u16(2) + craft.vector(group.ratchet_tree()))
    context, tag = view.group_context, view.confirmation_tag
    started = time.perf_counter()
    assert refused(PublicGroup.create, group.group_info(), tree) == "limit.tree_nodes"
    assert refused(PublicGroup.create, carrying) == "limit.tree_nodes"
    assert refused(group_info, carrying) == "limit.tree_nodes"
    assert refused(group_info, twice) == "decode.malformed"
    rebuilt = refused(PublicGroup.rebuild, ratchet_tree=tree, group_context=context, confirmation_tag=tag)
    assert rebuilt == "limit.tree_nodes"
    assert refused(Client(b"bob").join_external, group.group_info(), tree) == "limit.tree_nodes"
    assert refused(Client(b"bob").join_external, carrying) == "limit.tree_nodes"
    assert time.perf_counter() - started < 1


def test_sizes(refused: Callable[..., str]) -> None:
    client = Client(b"alice")
    group = client.create_group(GROUP_ID)
    small = Limits(max_tree_bytes=100)
    tree = group.ratchet_tree()
    assert refused(PublicGroup.create, group.group_info(with_tree=True), limits=small) == "limit.message_size"
    view = group_info(group.group_info())
    stored = {"ratchet_tree": tree, "group_context": view.group_context, "confirmation_tag": view.confirmation_tag}
    assert refused(PublicGroup.rebuild, **stored, limits=small) == "limit.tree_size"
    assert refused(PublicGroup.create, group.group_info(), tree, limits=Limits(max_members=0)) == "limit.members"
    nothing = Limits(ciphersuites=())
    assert refused(PublicGroup.rebuild, **stored, limits=nothing) == "unsupported.ciphersuite"
    assert refused(group_info, group.group_info(), limits=nothing) == "unsupported.ciphersuite"


def test_absurd_limits_do_no_harm() -> None:
    service, _, _ = start()
    huge = Limits(max_members=2**64 - 1, max_tree_bytes=2**64 - 1, max_lifetime_seconds=2**64 - 1)
    PublicGroup.create(service.group_info, service.ratchet_tree, limits=huge)
    with pytest.raises(OverflowError):
        Limits(max_members=-1)
