"""Commits a service must not take."""

import os
from collections.abc import Callable

import craft
import pytest
from openmls.client import Client, Signer
from openmls.delivery import Limits, Policy, PublicGroup
from service import GROUP_ID, Service, let_in, start, three

EPOCH_AT = 4 + 1 + len(GROUP_ID)


def test_every_changed_byte_a_server_can_check_is_noticed(refused: Callable[..., str]) -> None:
    service, _, [_, bob, _] = three()
    made = bob.commit(update=True)
    group = service.group()
    length = len(made.commit)
    confirmation_tag = range(length - 65, length - 33)
    membership_tag = range(length - 32, length)
    for place in range(length):
        changed = bytearray(made.commit)
        changed[place] ^= 0x80
        if place in membership_tag:
            continue
        expected = refused(group.process_commit, bytes(changed), group_info=made.group_info)
        assert not expected.startswith("internal.")
        if place in confirmation_tag:
            assert expected == "group_info.confirmation_tag_mismatch"
    assert group == service.group()


def test_a_replay_is_of_another_epoch(refused: Callable[..., str]) -> None:
    service, _, [_, bob, _] = three()
    made = bob.commit(update=True)
    service.commit(made)
    assert refused(service.commit, made) == "validation.wrong_epoch"
    patched = made.commit[:EPOCH_AT] + craft.u64(2) + made.commit[EPOCH_AT + 8 :]
    assert refused(service.group().process_commit, patched) == "validation.bad_signature"


def test_only_members_commit(refused: Callable[..., str]) -> None:
    service, clients, [_, bob, _carol] = three()
    group = service.group()
    other, _, eve = start(b"eve")
    let_in(other, eve, b"x")
    made = eve.commit(update=True)
    assert refused(group.process_commit, made.commit) == "validation.bad_signature"
    sender_at = EPOCH_AT + 8 + 1
    nobody = made.commit[:sender_at] + craft.u32(9) + made.commit[sender_at + 4 :]
    assert refused(group.process_commit, nobody) == "validation.unknown_member"
    elsewhere = Client(b"x").create_group(b"room-2")
    elsewhere.commit(update=True)
    elsewhere.confirm()
    assert refused(group.process_commit, elsewhere.commit(update=True).commit) == "validation.wrong_group_id"
    service.commit(bob.commit(remove=[2]))
    late = craft.commit(service.group(), clients[2].signer, leaf=2)
    assert refused(service.group().process_commit, late) == "validation.unknown_member"


def test_what_is_no_commit(refused: Callable[..., str]) -> None:
    service, _, [alice, bob, _] = three()
    group = service.group()
    assert refused(group.process_commit, alice.encrypt(b"x")) == "validation.private_message"
    assert refused(group.process_commit, alice.group_info()) == "decode.wrong_type"
    assert refused(group.process_commit, bob.propose_update()) == "decode.wrong_type"
    assert refused(group.process_commit, b"") == "decode.truncated"


def test_a_hidden_commit_cannot_be_followed(refused: Callable[..., str]) -> None:
    client = Client(b"alice")
    hidden = client.create_group(GROUP_ID, private_handshake=True)
    service = Service(hidden.group_info(), hidden.ratchet_tree())
    assert refused(service.commit, hidden.commit(update=True)) == "validation.private_message"


def test_an_external_commit_to_another_state_is_refused(refused: Callable[..., str]) -> None:
    service, _, _ = three()
    other, _, eve = start(b"eve")
    let_in(other, eve, b"x")
    _, made = Client(b"zed").join_external(other.group_info, other.ratchet_tree)
    assert refused(service.commit, made).startswith(("commit.", "validation."))


def test_a_proposal_the_service_never_saw_is_missing(refused: Callable[..., str]) -> None:
    service, _, [alice, bob, _] = three()
    alice.process(bob.propose_self_remove())
    made = alice.commit()
    assert refused(service.commit, made) == "commit.missing_proposal"


def test_members_do_not_share_a_signature_key(refused: Callable[..., str]) -> None:
    service, [alice, _, _], [_, bob, _] = three()
    made = bob.commit(new_signer=alice.signer)
    assert refused(service.commit, made) == "commit.duplicate_signature_key"


def test_members_do_not_share_an_encryption_key(refused: Callable[..., str]) -> None:
    service, [alice, _, _], _ = three()
    taken = service.group().members()[1].encryption_key
    package = craft.key_package(Signer.generate(), b"dave", encryption_key=taken)
    made = craft.commit(service.group(), alice.signer, craft.u16(craft.ADD) + package)
    assert refused(service.group().process_commit, made) == "commit.duplicate_encryption_key"


def test_a_credential_stays(refused: Callable[..., str]) -> None:
    service, [_, bob, _], [_alice, _, _] = three()
    leaf = craft.update_leaf(service.group(), 1, bob.signer, b"alice")
    message = craft.proposal(service.group(), bob.signer, craft.UPDATE, leaf, leaf=1)
    assert refused(service.group().process_proposal, message) == "policy.credential_changed"
    lax = Policy(credential_may_change=True)
    _, group = service.group().process_proposal(message, policy=lax)
    covering = craft.commit(group, bob.signer, leaf=0)
    assert refused(group.process_commit, covering) == "validation.bad_signature"


@pytest.mark.parametrize(
    ("proposals", "code"),
    [
        ([craft.u16(craft.REINIT) + craft.reinit_body()], "policy.reinit"),
        ([craft.u16(craft.PSK) + craft.psk_body()], "policy.psk"),
        ([craft.u16(0xF0F1) + craft.vector(b"?")], "commit.unsupported_proposal_type"),
        ([craft.u16(craft.REMOVE) + craft.u32(7)], "commit.unknown_member"),
        ([craft.u16(craft.REMOVE) + craft.u32(0)], "commit.self_removal"),
        ([craft.u16(craft.REMOVE) + craft.u32(2)], "commit.missing_path"),
    ],
)
def test_what_a_commit_may_not_propose(refused: Callable[..., str], proposals: list[bytes], code: str) -> None:
    service, [alice, _, _], _ = three()
    made = craft.commit(service.group(), alice.signer, *proposals)
    assert refused(service.group().process_commit, made, policy=Policy(allow_psk=False)) == code


def test_a_reinit_and_a_psk_can_be_allowed() -> None:
    service, [alice, _, _], _ = three()
    made = craft.commit(service.group(), alice.signer, craft.u16(craft.REINIT) + craft.reinit_body())
    service.group().process_commit(made, policy=Policy(allow_reinit=True))
    made = craft.commit(service.group(), alice.signer, craft.u16(craft.PSK) + craft.psk_body())
    assert service.group().process_commit(made)[0].used_psk


def test_an_unknown_proposal_is_refused_even_if_all_list_its_type(refused: Callable[..., str]) -> None:
    signer = Signer.generate()
    group = PublicGroup.create(*craft.group_of_one(signer, b"alice", proposals=(0xF0F1,)))
    made = craft.commit(group, signer, craft.u16(0xF0F1) + craft.vector(b"?"))
    assert refused(group.process_commit, made) == "policy.custom_proposal"
    info, after = group.process_commit(made, policy=Policy(allow_custom=True))
    assert (info.kind, after.epoch) == ("member", 1)


def test_packages_in_a_commit_are_looked_at_like_published_ones(refused: Callable[..., str]) -> None:
    service, [alice, _, _], _ = three()
    group = service.group()

    def adding(**package: object) -> bytes:
        crafted = craft.key_package(Signer.generate(), b"dave", **package)  # type: ignore[arg-type]
        return craft.commit(group, alice.signer, craft.u16(craft.ADD) + crafted)

    endless = adding(lifetime=(0, 2**63))
    assert refused(group.process_commit, endless) == "key_package.lifetime_too_long"
    ended = adding(lifetime=(0, 10))
    assert refused(group.process_commit, ended) == "key_package.expired"
    incapable = adding(suites=(2,))
    assert refused(group.process_commit, incapable).startswith(("key_package.", "commit."))
    assert refused(group.process_commit, adding()) == "welcome.missing"


def test_a_group_does_not_outgrow_its_limit(refused: Callable[..., str]) -> None:
    service, _, [alice, _, _] = three()
    made = alice.commit(add=Client(b"dave").key_packages(1))
    assert made.welcome
    group = service.group()
    few = Limits(max_members=3)
    assert refused(group.process_commit, made.commit, welcomes=[made.welcome], limits=few) == "limit.members"
    small = Limits(max_message_bytes=100)
    assert refused(group.process_commit, made.commit, limits=small) == "limit.message_size"
    group.process_commit(made.commit, welcomes=[made.welcome], limits=Limits(max_members=4))


def test_a_member_cannot_invent_a_path(refused: Callable[..., str]) -> None:
    service, [alice, _, _], _ = three()
    made = craft.framed(service.group(), alice.signer, craft.COMMIT, craft.vector(b"") + b"\1" + os.urandom(300))
    assert refused(service.group().process_commit, made).startswith("decode.")
