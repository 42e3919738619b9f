"""Proposals, and the commits that cover them."""

from collections.abc import Callable

import pytest
from openmls.client import Client, Group
from openmls.delivery import ExternalSigner, PublicGroup, key_package, peek
from service import GROUP_ID, agree, let_in, start, three


@pytest.mark.parametrize(
    ("propose", "kind"), [(Group.propose_self_remove, "self_remove"), (Group.propose_leave, "remove")]
)
def test_a_member_leaves(propose: Callable[[Group], bytes], kind: str) -> None:
    service, _, [alice, bob, carol] = three()
    message = propose(bob)
    info = service.propose(message)
    assert (info.kind, info.removed, info.sender_type, info.sender_index, info.epoch) == (kind, 1, "member", 1, 1)
    assert info.added is None
    assert service.group().pending_proposals[0].reference == info.reference
    for group in (alice, carol):
        assert group.process(message).kind == "proposal"
    assert [pending.reference for pending in alice.pending_proposals()] == [info.reference]
    bundle = alice.commit()
    done = service.commit(bundle)
    assert [(removed.leaf_index, removed.by) for removed in done.removed] == [(1, "self")]
    assert done.covered == (info.reference,)
    assert service.group().pending_proposals == ()
    alice.confirm()
    carol.process(bundle.commit)
    agree(service, alice, carol)


def test_updates_and_adds_are_committed_by_reference() -> None:
    service, _, [alice, bob, carol] = three()
    dave = Client(b"dave")
    package = dave.key_packages(1)[0]
    messages = [bob.propose_update(), carol.propose_add(package)]
    infos = [service.propose(message) for message in messages]
    assert (infos[0].new_signature_key, infos[1].new_signature_key) == (
        service.group().members()[1].signature_key,
        None,
    )
    added = infos[1].added
    assert added
    assert (added.identity, added.reference) == (b"dave", key_package(package).reference)
    groups = [alice, bob, carol]
    for group in groups:
        assert [group.process(message).kind == "own" for message in messages] == [group is bob, group is carol]
    bundle = alice.commit()
    done = service.commit(bundle)
    assert sorted(updated.leaf_index for updated in done.updated) == [0, 1]
    assert [added.identity for added in done.added] == [b"dave"]
    assert set(done.covered) == {info.reference for info in infos}
    alice.confirm()
    for group in (bob, carol):
        group.process(bundle.commit)
    assert bundle.welcome
    agree(service, *groups, dave.join(bundle.welcome, service.ratchet_tree))


def test_what_a_commit_leaves_out_is_not_covered() -> None:
    service, _, [alice, bob, _] = three()
    info = service.propose(bob.propose_self_remove())
    done = service.commit(alice.commit(update=True))
    assert info.reference not in done.covered
    assert service.group().pending_proposals == ()


def test_the_server_removes_as_an_external_sender() -> None:
    server = ExternalSigner.generate()
    service, _, alice = start(external_senders=[(b"ds", server.public)])
    let_in(service, alice, b"bob")
    assert service.group().external_senders == ((b"ds", server.public),)
    again = ExternalSigner.load(server.export())
    message = again.propose_remove(GROUP_ID, 1, 1)
    outside = peek(message)
    assert (outside.sender_type, outside.sender_index, outside.content_type) == ("external", 0, "proposal")
    info = service.propose(message)
    assert (info.sender_type, info.sender_index, info.removed) == ("external", 0, 1)
    alice.process(message)
    done = service.commit(alice.commit())
    assert [(removed.leaf_index, removed.by) for removed in done.removed] == [(1, "external")]


@pytest.mark.parametrize(("ciphersuite", "key_bytes"), [(1, 32), (2, 65), (3, 32)])
def test_a_key_pair_belongs_to_its_secret(ciphersuite: int, key_bytes: int) -> None:
    server = ExternalSigner.derive(b"s" * 32, ciphersuite)
    assert server.public == ExternalSigner.derive(b"s" * 32, ciphersuite).public
    assert server.public != ExternalSigner.derive(b"t" * 32, ciphersuite).public
    assert len(server.public) == key_bytes
    assert ExternalSigner.load(server.export()).public == server.public


def test_a_short_secret_is_refused(refused: Callable[..., str]) -> None:
    assert refused(ExternalSigner.derive, b"s" * 31) == "state.bad_signer"


def test_a_commit_replaces_the_list_of_external_senders() -> None:
    service, _, alice = start(external_senders=[(b"old", ExternalSigner.generate().public)])
    key = ExternalSigner.generate().public
    for wanted in ([(b"new", key)], []):
        done = service.commit(alice.commit(external_senders=wanted))
        alice.confirm()
        assert done.extensions_changed
        assert service.group().external_senders == tuple(wanted)
    agree(service, alice)


def test_external_senders_are_who_the_group_lists(refused: Callable[..., str]) -> None:
    server, stranger = ExternalSigner.generate(), ExternalSigner.generate()
    service, _, _ = start(external_senders=[(b"ds", server.public)])
    propose = service.group().process_proposal
    assert refused(propose, stranger.propose_remove(GROUP_ID, 0, 0)) == "validation.bad_signature"
    assert (
        refused(propose, server.propose_remove(GROUP_ID, 0, 0, sender_index=1))
        == "validation.unauthorized_external_sender"
    )
    unlisted, _, _ = start()
    assert (
        refused(unlisted.group().process_proposal, server.propose_remove(GROUP_ID, 0, 0))
        == "validation.no_external_senders"
    )


def test_a_proposal_given_twice_changes_nothing() -> None:
    service, _, [_, bob, _] = three()
    message = bob.propose_self_remove()
    first, group = service.group().process_proposal(message)
    second, again = group.process_proposal(message)
    assert first.reference == second.reference
    assert len(again.pending_proposals) == 1
    assert group == again


def test_pending_proposals_make_groups_differ() -> None:
    service, _, [_, bob, _] = three()
    before = service.group()
    _, after = before.process_proposal(bob.propose_self_remove())
    assert before != after
    assert before == service.group()
    assert isinstance(after, PublicGroup)
