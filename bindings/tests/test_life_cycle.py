"""Real clients live together, and the service follows every step."""

import pytest
from openmls.client import Client, Signer
from openmls.delivery import key_package, peek, welcome
from service import GROUP_ID, Service, agree, let_in, start, three


@pytest.mark.parametrize("ciphersuite", [1, 2, 3])
def test_every_suite_works(ciphersuite: int) -> None:
    service, _, alice = start(ciphersuite=ciphersuite)
    _, [bob] = let_in(service, alice, b"bob")
    assert bob.process(alice.encrypt(b"hello")).data == b"hello"
    agree(service, alice, bob)
    outsider = Client(b"carol", ciphersuite=ciphersuite)
    carol, bundle = outsider.join_external(service.group_info, service.ratchet_tree)
    service.commit(bundle)
    for group in (alice, bob):
        group.process(bundle.commit)
    agree(service, alice, bob, carol)


def test_an_added_member_is_named_by_package_and_leaf() -> None:
    service, _, alice = start()
    bob = Client(b"bob")
    package = key_package(bob.key_packages(1)[0])
    bundle = alice.commit(add=[package.raw], authenticated_data=b"first")
    info = service.commit(bundle)
    assert (info.kind, info.committer, info.committer_identity) == ("member", 0, b"alice")
    assert (info.epoch_before, info.epoch_after, info.authenticated_data) == (0, 1, b"first")
    [added] = info.added
    assert (added.leaf_index, added.identity, added.reference) == (1, b"bob", package.reference)
    assert added.signature_key == bob.signer.public
    assert not info.removed
    assert not info.extensions_changed
    assert not info.used_psk
    assert bundle.welcome
    assert welcome(bundle.welcome).references == (package.reference,)
    assert info.group_context == service.group().group_context()
    assert info.confirmation_tag == service.group().confirmation_tag


def test_messages_reach_all_members_and_no_others() -> None:
    _service, _, [alice, bob, carol] = three()
    sent = carol.encrypt(b"hello", authenticated_data=b"label")
    outside = peek(sent)
    assert (outside.wire_format, outside.content_type, outside.sender_type) == ("private_message", "application", None)
    assert outside.authenticated_data == b"label"
    for group in (alice, bob):
        read = group.process(sent)
        assert (read.kind, read.data, read.authenticated_data) == ("application", b"hello", b"label")
        assert (read.sender_index, read.sender_identity, read.epoch) == (2, b"carol", 1)
    assert carol.process(sent).kind == "own"


def test_everybody_commits_in_turn() -> None:
    service, _, groups = three()
    for committer in groups:
        bundle = committer.commit(update=True)
        info = service.commit(bundle)
        assert [updated.leaf_index for updated in info.updated] == [committer.own_leaf]
        committer.confirm()
        for group in groups:
            if group is not committer:
                read = group.process(bundle.commit)
                assert (read.kind, read.sender_index, read.epoch) == ("commit", committer.own_leaf, info.epoch_after)
        agree(service, *groups)


def test_a_signer_changes_only_when_its_commit_is_confirmed() -> None:
    service, clients, [alice, bob, carol] = three()
    old, new = bob.signer, Signer.generate()
    bob.commit(new_signer=new)
    bob.discard()
    assert bob.signer.public == old.public
    bundle = bob.commit(new_signer=new)
    assert bob.signer.public == old.public
    [updated] = service.commit(bundle).updated
    assert (updated.old_signature_key, updated.new_signature_key) == (old.public, new.public)
    assert (updated.old_identity, updated.new_identity) == (b"bob", b"bob")
    bob.confirm()
    for group in (alice, carol):
        group.process(bundle.commit)
    agree(service, alice, bob, carol)
    service.commit(bob.commit(update=True))
    assert bob.signer.public == new.public != clients[1].signer.public


def test_a_lost_race_is_discarded_and_the_winner_followed() -> None:
    service, _, [alice, bob, carol] = three()
    lost = alice.commit(update=True)
    won = bob.commit(update=True)
    service.commit(won)
    bob.confirm()
    alice.discard()
    for group in (alice, carol):
        group.process(won.commit)
    agree(service, alice, bob, carol)
    assert lost.commit != won.commit


def test_the_winner_may_be_processed_without_discarding_first() -> None:
    service, _, [alice, bob, carol] = three()
    alice.commit(update=True)
    won = bob.commit(update=True)
    service.commit(won)
    bob.confirm()
    assert alice.process(won.commit).kind == "commit"
    assert not alice.has_pending_commit
    carol.process(won.commit)
    agree(service, alice, bob, carol)


@pytest.mark.parametrize("private", [False, True])
def test_an_own_commit_that_comes_back_is_confirmed(private: bool) -> None:
    client = Client(b"alice")
    group = client.create_group(GROUP_ID, private_handshake=private)
    bundle = group.commit(update=True)
    read = group.process(bundle.commit)
    assert (read.kind, read.epoch, group.epoch, group.has_pending_commit) == ("own", 1, 1, False)
    assert group.process(bundle.commit).kind == "own"
    assert group.epoch == 1


def test_a_removed_member_knows() -> None:
    service, _, [alice, bob, carol] = three()
    bundle = alice.commit(remove=[2])
    [removed] = service.commit(bundle).removed
    assert (removed.leaf_index, removed.identity, removed.by) == (2, b"carol", "member")
    alice.confirm()
    bob.process(bundle.commit)
    assert carol.process(bundle.commit).kind == "commit"
    assert not carol.active
    agree(service, alice, bob)


def test_a_removed_member_can_be_let_in_again() -> None:
    service, clients, [alice, bob, carol] = three()
    gone = alice.commit(remove=[2])
    service.commit(gone)
    alice.confirm()
    bob.process(gone.commit)
    carol.process(gone.commit)
    back = alice.commit(add=clients[2].key_packages(1))
    service.commit(back)
    alice.confirm()
    bob.process(back.commit)
    assert back.welcome
    carol = clients[2].join(back.welcome, service.ratchet_tree)
    agree(service, alice, bob, carol)


def test_a_member_can_be_replaced_in_one_commit() -> None:
    service, clients, [alice, bob, _] = three()
    again = Client(b"carol", signer=clients[2].signer)
    bundle = alice.commit(remove=[2], add=again.key_packages(1))
    info = service.commit(bundle)
    assert [removed.leaf_index for removed in info.removed] == [added.leaf_index for added in info.added] == [2]
    alice.confirm()
    bob.process(bundle.commit)
    assert bundle.welcome
    agree(service, alice, bob, again.join(bundle.welcome, service.ratchet_tree))


def test_a_tree_inside_the_welcome_and_the_group_info_is_enough() -> None:
    client = Client(b"alice")
    alice = client.create_group(GROUP_ID)
    service = Service(alice.group_info(with_tree=True))
    bob = Client(b"bob")
    bundle = alice.commit(add=bob.key_packages(1), with_tree=True)
    service.commit(bundle)
    alice.confirm()
    assert bundle.welcome
    joined = bob.join(bundle.welcome)
    outsider = Client(b"carol")
    carol, external = outsider.join_external(service.group_info)
    service.commit(external)
    for group in (alice, joined):
        group.process(external.commit)
    agree(service, alice, joined, carol)


def test_a_group_that_hides_its_commits_works_among_members() -> None:
    alice_client, bob_client = Client(b"alice"), Client(b"bob")
    alice = alice_client.create_group(GROUP_ID, private_handshake=True)
    bundle = alice.commit(add=bob_client.key_packages(1), with_tree=True)
    assert peek(bundle.commit).wire_format == "private_message"
    alice.confirm()
    assert bundle.welcome
    bob = bob_client.join(bundle.welcome, private_handshake=True)
    bundle = bob.commit(update=True)
    assert peek(bundle.commit).wire_format == "private_message"
    assert alice.process(bundle.commit).sender_identity == b"bob"
    bob.confirm()
    assert alice.epoch_authenticator() == bob.epoch_authenticator()
