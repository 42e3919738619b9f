"""A client keeps its promises: nothing lost, nothing changed by a refusal."""

from collections.abc import Callable

import pytest
from openmls.client import Client, Group, Signer
from openmls.delivery import PublicGroup, key_package, peek
from service import GROUP_ID, agree, let_in, start, three


def test_state_is_everything() -> None:
    service, alice_client, alice = start()
    bob = Client(b"bob")
    [package] = bob.key_packages(1)
    bob = Client.load(bob.state())
    bundle = alice.commit(add=[package], new_signer=Signer.generate())
    alice_client = Client.load(alice_client.state())
    alice = alice_client.group(GROUP_ID)
    assert alice.has_pending_commit
    service.commit(bundle)
    alice.process(bundle.commit)
    assert alice.signer.public != alice_client.signer.public
    assert bundle.welcome
    bob.join(bundle.welcome, service.ratchet_tree)
    bob = Client.load(bob.state())
    alice_client = Client.load(alice_client.state())
    alice, joined = alice_client.group(GROUP_ID), bob.group(GROUP_ID)
    assert joined.process(alice.encrypt(b"still here")).data == b"still here"
    agree(service, alice, joined)
    assert (bob.identity, bob.ciphersuite, bob.group_ids()) == (b"bob", 1, (GROUP_ID,))


def test_a_damaged_state_is_refused(refused: Callable[..., str]) -> None:
    client = Client(b"alice")
    client.create_group(GROUP_ID)
    state = client.state()
    assert refused(Client.load, b"") == "state.bad_client"
    assert refused(Client.load, state[:-1]) == "state.bad_client"
    for place in range(0, len(state), 97):
        changed = bytearray(state)
        changed[place] ^= 1
        assert refused(Client.load, bytes(changed)) == "state.bad_client"


def test_signers(refused: Callable[..., str]) -> None:
    signer = Signer.generate()
    assert Signer.load(signer.export()).public == signer.public
    assert len(signer.sign(b"data")) == 64
    assert refused(Signer.load, b"") == "state.bad_signer"
    other = bytearray(signer.export())
    other[5] ^= 1
    assert refused(Signer.load, bytes(other)) == "state.bad_signer"
    assert refused(Client, b"alice", ciphersuite=2, signer=signer) == "client.wrong_signer"
    assert refused(Client, b"alice", ciphersuite=4) == "unsupported.ciphersuite"
    group = Client(b"alice").create_group(GROUP_ID)
    assert refused(group.commit, new_signer=Signer.generate(2)) == "client.wrong_signer"


def test_a_refused_welcome_costs_no_key_package(refused: Callable[..., str]) -> None:
    service, _, alice = start()
    bob = Client(b"bob")
    bundle = alice.commit(add=bob.key_packages(1))
    service.commit(bundle)
    assert bundle.welcome
    before = bob.state()
    assert refused(bob.join, bundle.welcome) == "client.missing_tree"
    _, _, stranger = start(b"eve")
    assert refused(bob.join, bundle.welcome, stranger.ratchet_tree()).startswith(("client.", "tree."))
    assert refused(Client(b"bob").join, bundle.welcome, service.ratchet_tree) == "client.no_key_package"
    assert bob.state() == before
    group = bob.join(bundle.welcome, service.ratchet_tree)
    assert group.epoch == 1
    assert refused(bob.join, bundle.welcome, service.ratchet_tree) == "client.no_key_package"


def test_a_last_resort_package_lets_in_twice() -> None:
    bob = Client(b"bob")
    [package] = bob.key_packages(1, last_resort=True)
    for name in (b"room-a", b"room-b"):
        group = Client(b"alice").create_group(name)
        bundle = group.commit(add=[package], with_tree=True)
        assert bundle.welcome
        assert bob.join(bundle.welcome).group_id == name
    assert bob.group_ids() == (b"room-a", b"room-b")


def test_a_member_does_not_join_twice(refused: Callable[..., str]) -> None:
    client, bob = Client(b"alice"), Client(b"bob")
    alice = client.create_group(GROUP_ID)
    bundle = alice.commit(add=bob.key_packages(1), with_tree=True)
    alice.confirm()
    assert bundle.welcome
    group = bob.join(bundle.welcome)
    other = Client(b"eve").create_group(GROUP_ID)
    again = other.commit(add=bob.key_packages(1), with_tree=True)
    assert again.welcome
    assert refused(bob.join, again.welcome) == "client.group_exists"
    assert group.process(alice.encrypt(b"still here")).data == b"still here"
    assert refused(client.create_group, GROUP_ID) == "client.group_exists"


def test_one_commit_at_a_time(refused: Callable[..., str]) -> None:
    group = Client(b"alice").create_group(GROUP_ID)
    assert refused(group.confirm) == "client.no_commit"
    group.discard()
    group.commit(update=True)
    assert refused(group.commit) == "client.pending_commit"
    assert group.has_pending_commit
    assert group.confirm() == 1


def test_a_refused_commit_changes_nothing(refused: Callable[..., str]) -> None:
    service, clients, [alice, bob, carol] = three()
    before = clients[0].state()
    assert refused(alice.commit, remove=[7]).startswith(("client.", "commit."))
    assert refused(alice.commit, remove=[0]).startswith(("client.", "commit."))
    assert refused(alice.commit, add=[b"nonsense"]).startswith(("decode.", "unsupported."))
    taken = Client(b"dave", signer=clients[1].signer).key_packages(1)
    assert refused(alice.commit, add=taken) == "commit.duplicate_signature_key"
    assert clients[0].state() == before
    bundle = alice.commit(update=True)
    service.commit(bundle)
    alice.confirm()
    for group in (bob, carol):
        group.process(bundle.commit)
    agree(service, alice, bob, carol)


def test_a_message_is_read_once_and_bad_ones_cost_nothing(refused: Callable[..., str]) -> None:
    _, _, [alice, bob, _] = three()
    sent = alice.encrypt(b"once")
    changed = bytearray(sent)
    changed[-1] ^= 1
    assert refused(bob.process, bytes(changed)).startswith(("client.", "validation."))
    assert bob.process(sent).data == b"once"
    assert refused(bob.process, sent) == "client.replayed"
    assert refused(bob.process, b"\0\1") == "decode.truncated"
    assert refused(bob.process, alice.group_info()) == "decode.wrong_type"
    elsewhere = Client(b"eve").create_group(b"room-2")
    assert refused(bob.process, elsewhere.encrypt(b"x")) == "client.wrong_group"


def test_messages_of_five_past_epochs_can_be_read(refused: Callable[..., str]) -> None:
    _, _, [alice, bob, _] = three()
    sent = [alice.encrypt(b"%d" % number) for number in range(2)]
    for _ in range(5):
        bundle = alice.commit(update=True)
        alice.confirm()
        bob.process(bundle.commit)
    read = bob.process(sent[0])
    assert (read.data, read.epoch, bob.epoch) == (b"0", 1, 6)
    bundle = alice.commit(update=True)
    alice.confirm()
    bob.process(bundle.commit)
    assert refused(bob.process, sent[1]) in ("client.too_old", "validation.wrong_epoch")


def test_a_refused_message_leaves_no_label_behind(refused: Callable[..., str]) -> None:
    _, _, [alice, bob, _] = three()
    alice.process(bob.propose_self_remove())
    assert refused(alice.encrypt, b"x", authenticated_data=b"label") == "client.pending_proposals"
    assert peek(alice.propose_update()).authenticated_data == b""


def test_nothing_is_sent_while_proposals_wait(refused: Callable[..., str]) -> None:
    _, _, [alice, bob, _] = three()
    alice.process(bob.propose_self_remove())
    assert refused(alice.encrypt, b"x") == "client.pending_proposals"
    alice.clear_proposals()
    assert alice.pending_proposals() == ()
    assert bob.pending_proposals()
    bob.clear_proposals()
    assert alice.process(bob.encrypt(b"x")).data == b"x"


@pytest.mark.parametrize(
    "call",
    [
        lambda group: group.encrypt(b"x"),
        lambda group: group.commit(update=True),
        lambda group: group.propose_update(),
        lambda group: group.group_info(),
        lambda group: group.propose_leave(),
    ],
)
def test_a_removed_member_can_do_no_more(refused: Callable[..., str], call: Callable[[Group], object]) -> None:
    service, _, [alice, bob, _] = three()
    bundle = alice.commit(remove=[1])
    service.commit(bundle)
    bob.process(bundle.commit)
    assert refused(call, bob) == "client.group_inactive"
    assert bob.epoch == 2
    assert not bob.active


def test_a_group_can_be_forgotten(refused: Callable[..., str]) -> None:
    client = Client(b"alice")
    empty = client.state()
    group = client.create_group(GROUP_ID)
    client.forget_group(GROUP_ID)
    assert client.group_ids() == ()
    assert refused(client.forget_group, GROUP_ID) == "client.no_group"
    assert refused(client.group, GROUP_ID) == "client.no_group"
    assert refused(lambda: group.epoch) == "client.no_group"
    assert len(client.state()) == len(empty)
    assert client.create_group(GROUP_ID).epoch == 0


def test_a_lost_external_commit_is_forgotten_and_made_again() -> None:
    service, _, [alice, bob, carol] = three()
    dave = Client(b"dave")
    _, lost = dave.join_external(service.group_info, service.ratchet_tree)
    won = alice.commit(update=True)
    service.commit(won)
    alice.confirm()
    dave.forget_group(GROUP_ID)
    group, again = dave.join_external(service.group_info, service.ratchet_tree)
    service.commit(again)
    alice.process(again.commit)
    for member in (bob, carol):
        member.process(won.commit)
        member.process(again.commit)
    agree(service, alice, bob, carol, group)
    assert lost.commit != again.commit


def test_secrets_are_shared_by_members_only() -> None:
    service, _, [alice, bob, _] = three()
    secret = alice.export_secret("label", b"context", 32)
    assert secret == bob.export_secret("label", b"context", 32)
    assert len(secret) == 32
    assert secret != alice.export_secret("label", b"other", 32)
    bundle = alice.commit(remove=[1])
    service.commit(bundle)
    alice.confirm()
    bob.process(bundle.commit)
    assert alice.epoch_authenticator() != bob.epoch_authenticator()
    assert alice.export_secret("label", b"context", 32) != secret


def test_members_are_what_the_tree_says() -> None:
    service, clients, [alice, _, _] = three()
    members = alice.members()
    assert [(member.leaf_index, member.identity) for member in members] == [(0, b"alice"), (1, b"bob"), (2, b"carol")]
    assert [member.signature_key for member in members] == [client.signer.public for client in clients]
    followed = service.group().members()
    assert [member.encryption_key for member in members] == [member.encryption_key for member in followed]
    assert {member.proposals for member in members} == {(10,)}
    assert all(member.credential_type == 1 for member in followed)


def test_lifetimes_of_own_packages() -> None:
    client = Client(b"alice")
    [package] = client.key_packages(1, lifetime=1000)
    info = key_package(package)
    assert 1000 <= info.not_after - info.not_before <= 1000 + 3600
    assert len({key_package(data).reference for data in client.key_packages(5)}) == 5


def test_a_hidden_handshake_cannot_self_remove(refused: Callable[..., str]) -> None:
    group = Client(b"alice").create_group(GROUP_ID, private_handshake=True)
    assert refused(group.propose_self_remove) == "client.propose"


def test_a_group_at_a_later_epoch_can_be_followed() -> None:
    client = Client(b"alice")
    group = client.create_group(GROUP_ID)
    group.commit(update=True)
    group.confirm()
    assert PublicGroup.create(group.group_info(), group.ratchet_tree()).epoch == 1


def test_clients_of_other_keys_do_not_disturb_each_other() -> None:
    service, _, alice = start()
    _, groups = let_in(service, alice, b"bob", b"carol")
    assert {group.own_leaf for group in groups} == {1, 2}
