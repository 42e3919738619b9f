"""A group made again from what was stored is the group that was stored."""

import time
from collections.abc import Callable

import craft
import pytest
from openmls.client import Client, Group, Signer
from openmls.delivery import Limits, Policy, PublicGroup
from service import Service, agree, let_in, start, three


def step(service: Service, committer: Group, others: list[Group], **wanted: object) -> None:
    bundle = committer.commit(**wanted)  # type: ignore[arg-type]
    service.commit(bundle)
    committer.confirm()
    for group in others:
        if group is not committer and group.active:
            group.process(bundle.commit)


def test_every_shape_of_tree_is_rebuilt_exactly() -> None:
    service, _, alice = start()
    _, others = let_in(service, alice, *(b"member %d" % number for number in range(12)))
    groups = [alice, *others]
    package = Client(b"late").key_packages(1)
    step(service, groups[4], groups, update=True)
    step(service, groups[8], groups, update=True)
    step(service, groups[8], groups, remove=[12, 11, 10, 4])  # shrinks and leaves blanks
    step(service, groups[1], groups, add=package)  # fills a blank
    step(service, groups[1], groups, remove=[6, 7, 9])
    step(service, alice, groups, add=[Client(b"last %d" % number).key_packages(1)[0] for number in range(9)])
    step(service, groups[1], groups, remove=[3], add=Client(b"swap").key_packages(1))
    agree(service, *(group for group in groups if group.active))


def test_members_may_say_different_things_of_themselves() -> None:
    service, _, alice = start()
    own_id = craft.u16(1) + craft.vector(craft.vector(b"an application's id"))
    unknown = craft.u16(0xF100) + craft.vector(b"anything")
    said: list[dict[str, object]] = [
        {"extensions": own_id},
        {"extensions": own_id + unknown, "extension_types": (craft.SELF_REMOVE, 0xF100)},
        {"versions": (1, 2), "suites": (2, 1, 0x0A0A, 0xF000)},
        {"extension_types": (0x0A0A, 3, 0xF000), "proposals": (craft.SELF_REMOVE, 0x1A1A, 0xF000)},
        {"credentials": (2, 1, 0x2A2A, 0xF000)},
        {},
        {},
    ]
    packages = [craft.key_package(Signer.generate(), b"%d" % number, **more) for number, more in enumerate(said)]
    step(service, alice, [], add=packages)
    step(service, alice, [], remove=[6])
    agree(service, alice)


def test_a_rebuilt_group_processes_like_the_merged_one() -> None:
    service, _, [alice, bob, _] = three()
    first = alice.commit(update=True)
    _, merged = service.group().process_commit(first.commit, group_info=first.group_info)
    alice.confirm()
    bob.process(first.commit)
    second = bob.commit(update=True)
    rebuilt = PublicGroup.rebuild(
        ratchet_tree=merged.ratchet_tree(),
        group_context=merged.group_context(),
        confirmation_tag=merged.confirmation_tag,
    )
    assert rebuilt == merged
    assert rebuilt.process_commit(second.commit)[1] == merged.process_commit(second.commit)[1]


def test_the_old_object_stays_what_it_was() -> None:
    service, _, [alice, bob, _] = three()
    before = service.group()
    untouched = service.group()
    commit = alice.commit(update=True).commit
    _, after = before.process_commit(commit)
    _, again = before.process_commit(commit)
    before.process_proposal(bob.propose_self_remove())
    assert (before.epoch, after.epoch) == (1, 2)
    assert after == again
    assert before == untouched
    assert before.ratchet_tree() == service.ratchet_tree


def test_a_group_outlives_the_lifetimes_of_its_leaves(refused: Callable[..., str]) -> None:
    service, _, alice = start()
    bob = Client(b"bob")
    now = int(time.time())
    bundle = alice.commit(add=bob.key_packages(1, lifetime=(now - 10, now + 1)))
    before = service.group()
    service.commit(bundle)
    alice.confirm()
    assert bundle.welcome
    joined = bob.join(bundle.welcome, service.ratchet_tree)
    time.sleep(2.1)
    assert refused(PublicGroup.create, service.group_info, service.ratchet_tree) == "tree.invalid_leaf"
    late = refused(before.process_commit, bundle.commit, welcomes=[bundle.welcome])
    assert late == "key_package.expired"
    step(service, alice, [joined], update=True)
    carol, external = Client(b"carol").join_external(service.group_info, service.ratchet_tree)
    service.commit(external)
    for group in (alice, joined):
        group.process(external.commit)
    step(service, joined, [alice, carol], update=True)
    agree(service, alice, joined, carol)
    PublicGroup.create(service.group_info, service.ratchet_tree)


def test_a_pending_add_that_ended_is_left_out() -> None:
    service, _, [_alice, bob, _] = three()
    now = int(time.time())
    kept = service.propose(bob.propose_self_remove())
    bob.clear_proposals()
    service.propose(bob.propose_add(Client(b"dave").key_packages(1, lifetime=(now - 10, now + 1))[0]))
    time.sleep(2.1)
    assert [info.reference for info in service.group().pending_proposals] == [kept.reference]


def test_pending_proposals_are_rebuilt_under_any_policy() -> None:
    service, clients, _ = three()
    group = service.group()
    message = craft.proposal(group, clients[0].signer, craft.REINIT, craft.reinit_body())
    info, after = group.process_proposal(message, policy=Policy(allow_reinit=True))
    service.proposals.append(message)
    assert service.group() == after
    assert service.group().pending_proposals[0].kind == info.kind == "reinit"


def test_what_does_not_belong_together_is_noticed(refused: Callable[..., str]) -> None:
    service, _, [alice, _, _] = three()
    stored = {
        "ratchet_tree": service.ratchet_tree,
        "group_context": service.group_context,
        "confirmation_tag": service.confirmation_tag,
    }
    step(service, alice, [], update=True)
    mixed = stored | {"ratchet_tree": service.ratchet_tree}
    assert refused(PublicGroup.rebuild, **mixed, verify=True) == "state.inconsistent"
    flipped = bytearray(stored["ratchet_tree"])
    flipped[-1] ^= 1
    assert refused(PublicGroup.rebuild, **stored | {"ratchet_tree": bytes(flipped)}, verify=True).startswith("state.")
    assert refused(PublicGroup.rebuild, **stored | {"ratchet_tree": b"\0"}) == "tree.invalid"
    blank_at_the_end = craft.vector(stored["ratchet_tree"][2:] + b"\0")
    assert refused(PublicGroup.rebuild, **stored | {"ratchet_tree": blank_at_the_end}) == "tree.invalid"
    assert refused(PublicGroup.rebuild, **stored | {"ratchet_tree": b""}) == "decode.truncated"
    assert refused(PublicGroup.rebuild, **stored | {"group_context": b""}) == "decode.truncated"


def test_a_group_that_shrank_keeps_its_wide_tree(refused: Callable[..., str]) -> None:
    service, _, alice = start()
    _, others = let_in(service, alice, *(b"%d" % number for number in range(99)))
    step(service, alice, others[-1:], remove=list(range(1, 99)))
    agree(service, alice, others[-1])
    PublicGroup.create(service.group_info, service.ratchet_tree)
    narrow = Limits(max_members=50)
    assert refused(PublicGroup.create, service.group_info, service.ratchet_tree, limits=narrow) == "limit.tree_nodes"
    dave, bundle = Client(b"dave").join_external(service.group_info, service.ratchet_tree)
    assert service.commit(bundle).added[0].leaf_index == 1
    for group in (alice, others[-1]):
        group.process(bundle.commit)
    agree(service, alice, others[-1], dave)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 9])
def test_the_tree_hash_is_checked_for_every_width(size: int) -> None:
    service, _, alice = start()
    if size > 1:
        let_in(service, alice, *(b"%d" % number for number in range(size - 1)))
    assert service.group(verify=True).tree_hash == service.group().tree_hash
