"""Proposals that would do harm while they wait."""

from collections.abc import Callable

import craft
import pytest
from openmls.client import Client, Signer
from openmls.delivery import ExternalSigner, Limits, Policy
from service import GROUP_ID, start, three


def test_nobody_is_removed_from_an_empty_leaf(refused: Callable[..., str]) -> None:
    service, [alice, _, _], _ = three()
    message = craft.proposal(service.group(), alice.signer, craft.REMOVE, craft.u32(7))
    assert refused(service.group().process_proposal, message) == "proposal.unknown_member"


def test_a_self_remove_needs_everybody_to_know_it(refused: Callable[..., str]) -> None:
    service, _, [alice, _, _] = three()
    old_fashioned = craft.key_package(Signer.generate(), b"dave", proposals=())
    service.commit(alice.commit(add=[old_fashioned]))
    alice.confirm()
    assert [10 in member.proposals for member in service.group().members()] == [True, True, True, False]
    assert refused(alice.propose_self_remove) == "proposal.self_remove_unsupported"
    signer = alice.signer
    message = craft.proposal(service.group(), signer, craft.SELF_REMOVE, b"")
    assert refused(service.group().process_proposal, message) == "proposal.self_remove_unsupported"
    assert service.propose(alice.propose_leave()).removed == 0


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (craft.REINIT, craft.reinit_body(), "policy.reinit"),
        (craft.PSK, craft.psk_body(), "policy.psk"),
        (0xF0F1, craft.vector(b"?"), "policy.custom_proposal"),
    ],
)
def test_what_only_a_policy_allows(refused: Callable[..., str], kind: int, body: bytes, code: str) -> None:
    service, [alice, _, _], _ = three()
    message = craft.proposal(service.group(), alice.signer, kind, body)
    process = service.group().process_proposal
    assert refused(process, message, policy=Policy(allow_psk=False)) == code
    info, _ = process(message, policy=Policy(allow_custom=True, allow_reinit=True))
    assert info.kind in ("reinit", "psk", "custom")


def test_keys_of_members_are_taken(refused: Callable[..., str]) -> None:
    service, [alice, bob, _], _ = three()
    group = service.group()
    signature = craft.key_package(bob.signer, b"bob")
    message = craft.proposal(group, alice.signer, craft.ADD, signature)
    assert refused(group.process_proposal, message) == "proposal.duplicate_signature_key"
    taken = group.members()[1].encryption_key
    package = craft.key_package(Signer.generate(), b"dave", encryption_key=taken)
    message = craft.proposal(group, alice.signer, craft.ADD, package)
    assert refused(group.process_proposal, message) == "proposal.duplicate_encryption_key"
    own = craft.update_leaf(group, 1, bob.signer, b"bob", encryption_key=taken)
    message = craft.proposal(group, bob.signer, craft.UPDATE, own, leaf=1)
    assert refused(group.process_proposal, message) == "proposal.duplicate_encryption_key"


def test_whoever_is_leaving_may_be_added_again() -> None:
    service, [_, _, carol], [alice, _, _] = three()
    service.propose(alice.propose_remove(2))
    again = Client(b"carol", signer=carol.signer)
    assert service.propose(alice.propose_add(again.key_packages(1)[0])).kind == "add"
    done = service.commit(alice.commit())
    assert [removed.leaf_index for removed in done.removed] == [added.leaf_index for added in done.added] == [2]


def test_packages_in_a_proposal_are_looked_at_like_published_ones(refused: Callable[..., str]) -> None:
    service, [alice, _, _], _ = three()
    package = craft.key_package(Signer.generate(), b"dave", lifetime=(0, 2**63))
    message = craft.proposal(service.group(), alice.signer, craft.ADD, package)
    assert refused(service.group().process_proposal, message) == "key_package.lifetime_too_long"


def test_one_member_cannot_fill_the_queue(refused: Callable[..., str]) -> None:
    service, [alice, bob, _], _ = three()
    limits = Limits(max_pending_proposals=3, max_pending_proposals_per_member=2)
    group = service.group()

    def of(client: Client, leaf: int, removed: int) -> bytes:
        return craft.proposal(service.group(), client.signer, craft.REMOVE, craft.u32(removed), leaf=leaf)

    for removed in (1, 2):
        _, group = group.process_proposal(of(alice, 0, removed), limits=limits)
    assert refused(group.process_proposal, of(alice, 0, 0), limits=limits) == "limit.pending_proposals"
    _, group = group.process_proposal(of(bob, 1, 2), limits=limits)
    assert refused(group.process_proposal, of(bob, 1, 0), limits=limits) == "limit.pending_proposals"
    assert len(group.pending_proposals) == 3


def test_the_servers_removals_are_not_a_members(refused: Callable[..., str]) -> None:
    server = ExternalSigner.generate()
    service, _, _ = start(external_senders=[(b"ds", server.public)])
    limits = Limits(max_pending_proposals_per_member=0)
    info, _ = service.group().process_proposal(server.propose_remove(GROUP_ID, 0, 0), limits=limits)
    assert info.sender_type == "external"


def test_a_stranger_may_ask_to_be_added_where_strangers_may_join(refused: Callable[..., str]) -> None:
    service, _, _ = three()
    signer = Signer.generate()
    package = craft.key_package(signer, b"dave")
    message = craft.proposal(service.group(), signer, craft.ADD, package, sender=craft.NEW_MEMBER_PROPOSAL)
    info = service.propose(message)
    assert (info.kind, info.sender_type, info.sender_index) == ("add", "new_member_proposal", None)
    closed = Policy(allow_external_join=False)
    fresh = three()[0].group()
    message = craft.proposal(fresh, signer, craft.ADD, package, sender=craft.NEW_MEMBER_PROPOSAL)
    assert refused(fresh.process_proposal, message, policy=closed) == "policy.external_join"


def test_replays_and_strangers(refused: Callable[..., str]) -> None:
    service, [alice, _, _], [group, bob, _] = three()
    message = bob.propose_update()
    service.commit(group.commit(update=True))
    assert refused(service.group().process_proposal, message) == "validation.wrong_epoch"
    forged = craft.proposal(service.group(), alice.signer, craft.REMOVE, craft.u32(2), leaf=1)
    assert refused(service.group().process_proposal, forged) == "validation.bad_signature"


def test_what_is_no_proposal(refused: Callable[..., str]) -> None:
    service, _, [alice, _, _] = three()
    process = service.group().process_proposal
    assert refused(process, alice.encrypt(b"x")) == "validation.private_message"
    assert refused(process, alice.commit(update=True).commit) == "decode.wrong_type"
    assert refused(process, b"\0\1") == "decode.truncated"
