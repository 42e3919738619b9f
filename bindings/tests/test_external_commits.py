"""Joining without being invited, and joining again."""

from collections.abc import Callable

from openmls.client import Client, Signer
from openmls.delivery import Policy
from service import agree, let_in, start, three


def test_a_stranger_joins_with_what_the_service_keeps() -> None:
    service, _, [alice, bob, _] = three()
    dave, bundle = Client(b"dave").join_external(
        service.group_info, service.ratchet_tree, authenticated_data=b"let me in"
    )
    info = service.commit(bundle)
    assert (info.kind, info.committer, info.committer_identity) == ("external_join", 3, b"dave")
    assert info.authenticated_data == b"let me in"
    [added] = info.added
    assert (added.leaf_index, added.identity, added.reference) == (3, b"dave", None)
    assert info.updated == ()
    assert info.removed == ()
    for group in (alice, bob):
        read = group.process(bundle.commit)
        assert (read.kind, read.sender_index, read.sender_identity) == ("commit", None, b"dave")
    agree(service, alice, bob, dave)
    assert alice.process(dave.encrypt(b"hello")).data == b"hello"
    assert dave.process(bundle.commit).kind == "own"


def test_the_group_info_of_an_external_commit_serves_the_next() -> None:
    service, _, alice = start()
    dave, first = Client(b"dave").join_external(service.group_info, service.ratchet_tree)
    service.commit(first)
    erin, second = Client(b"erin").join_external(service.group_info, service.ratchet_tree)
    service.commit(second)
    for bundle in (first, second):
        alice.process(bundle.commit)
    dave.process(second.commit)
    agree(service, alice, dave, erin)


def test_a_client_that_lost_its_state_replaces_its_own_leaf() -> None:
    service, clients, [alice, bob, _] = three()
    again = Client(b"carol", signer=clients[2].signer)
    carol, bundle = again.join_external(service.group_info, service.ratchet_tree)
    info = service.commit(bundle)
    assert (info.kind, info.committer) == ("external_resync", 2)
    assert [(removed.leaf_index, removed.by) for removed in info.removed] == [(2, "resync")]
    for group in (alice, bob):
        group.process(bundle.commit)
    agree(service, alice, bob, carol)


def test_a_client_resyncs_a_group_it_still_has() -> None:
    service, clients, [alice, bob, carol] = three()
    missed = alice.commit(update=True)
    service.commit(missed)
    alice.confirm()
    bob.process(missed.commit)
    carol, bundle = clients[2].join_external(service.group_info, service.ratchet_tree)
    assert service.commit(bundle).kind == "external_resync"
    for group in (alice, bob):
        group.process(bundle.commit)
    agree(service, alice, bob, carol)
    assert clients[2].group_ids() == (b"room-1",)


def test_a_key_does_not_make_another_client(refused: Callable[..., str]) -> None:
    service, clients, _ = three()
    mallory = Client(b"mallory", signer=clients[2].signer)
    _, bundle = mallory.join_external(service.group_info, service.ratchet_tree)
    assert refused(service.commit, bundle) == "policy.resync_identity"
    anything = Policy(credential_may_change=True)
    assert refused(service.commit, bundle, policy=anything) == "policy.resync_identity"


def test_external_joins_can_be_forbidden(refused: Callable[..., str]) -> None:
    service, _, _ = three()
    _, bundle = Client(b"dave").join_external(service.group_info, service.ratchet_tree)
    closed = Policy(allow_external_join=False)
    assert refused(service.commit, bundle, policy=closed) == "policy.external_join"


def test_an_external_commit_covers_a_self_remove() -> None:
    service, _, [alice, bob, carol] = three()
    message = bob.propose_self_remove()
    info = service.propose(message)
    for group in (alice, carol):
        group.process(message)
    dave, bundle = Client(b"dave").join_external(service.group_info, service.ratchet_tree, self_removes=[message])
    done = service.commit(bundle)
    assert done.covered == (info.reference,)
    assert [(removed.leaf_index, removed.by) for removed in done.removed] == [(1, "self")]
    for group in (alice, carol):
        group.process(bundle.commit)
    agree(service, alice, carol, dave)


def test_a_refused_external_join_keeps_the_old_group(refused: Callable[..., str]) -> None:
    service, clients, [alice, _bob, carol] = three()
    assert refused(clients[2].join_external, service.group_info) == "client.missing_tree"
    assert carol.process(alice.encrypt(b"still here")).data == b"still here"


def test_a_resync_after_rotation_uses_the_rotated_key() -> None:
    service, _, alice = start()
    [client], [bob] = let_in(service, alice, b"bob")
    bundle = bob.commit(new_signer=Signer.generate())
    service.commit(bundle)
    bob.confirm()
    alice.process(bundle.commit)
    bob, bundle = client.join_external(service.group_info, service.ratchet_tree)
    assert service.commit(bundle).kind == "external_resync"
    alice.process(bundle.commit)
    agree(service, alice, bob)
