"""Mutated messages into every entry point; run as a program for as long as you like.

    python fuzz/mutations.py [inputs] [seed] [address space in MB]

A delivery service reads strangers' bytes: its half may refuse anything, and may never fail (``internal.*``), hang or
grow.
"""

import collections
import random
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from openmls import MlsError
from openmls.client import Client, Signer
from openmls.delivery import (
    ExternalSigner,
    PublicGroup,
    group_info,
    key_package,
    peek,
    verify_group_info,
    welcome,
)

GROUP_ID = b"room-1"
PREFIXES = (b"\xbf\xff\xff\xff", b"\x80\x00\x40\x00", b"\x80\xff\xff\xff", b"\x7f\xff", b"\x40\x40")
EDGES = (0, 1, 2, 3, 4, 5, 0x3F, 0x40, 0x7F, 0x80, 0xBF, 0xC0, 0xFF)


class Target(NamedTuple):
    name: str
    call: Callable[[bytes], Any]
    seeds: list[bytes]


def vector(data: bytes) -> bytes:
    length = len(data)
    if length < 64:
        return bytes([length]) + data
    if length < 16384:
        return (0x4000 | length).to_bytes(2, "big") + data
    return (0x80000000 | length).to_bytes(4, "big") + data


def nested_trees(depth: int) -> bytes:
    """A tree in an extension of a leaf of a tree in an extension of …"""
    extensions = b""
    for _ in range(depth):
        extensions = b"\0\2" + vector(vector(b"\1\1" + hollow_leaf(extensions)))
    return vector(b"\1\1" + hollow_leaf(extensions))


def hollow_leaf(extensions: bytes) -> bytes:
    return b"\0\0\0\1\0" + bytes(5) + b"\1" + bytes(16) + vector(extensions) + b"\0"


class World:
    """A group of three with one of every message, and the entry points that read them."""

    def __init__(self) -> None:
        server = ExternalSigner.generate()
        alice, self.bob, carol, dave = (Client(name) for name in (b"alice", b"bob", b"carol", b"dave"))
        group = alice.create_group(GROUP_ID, external_senders=[(b"ds", server.public)])
        start = PublicGroup.create(group.group_info(), group.ratchet_tree())
        made = group.commit(add=self.bob.key_packages(1) + carol.key_packages(1), with_tree=True)
        group.confirm()
        self.welcome = made.welcome or b""
        self.invited = self.bob.state()
        bob, third = self.bob.join(self.welcome), carol.join(self.welcome)
        _, self.group = start.process_commit(made.commit, group_info=made.group_info, welcomes=[self.welcome])
        self.tree = self.group.ratchet_tree()
        self.packages = [dave.key_packages(1)[0], dave.key_packages(1, last_resort=True)[0]]
        self.group_infos = [group.group_info(), group.group_info(with_tree=True)]
        self.made = []
        for wanted in ({"update": True, "with_tree": True}, {"add": self.packages[:1]}, {"remove": [2]}):
            self.made.append(bob.commit(**wanted))
            bob.discard()
        _, joining = dave.join_external(self.group_infos[0], self.tree)
        self.commits = [*(bundle.commit for bundle in self.made), joining.commit]
        self.proposals = [
            third.propose_self_remove(),
            third.propose_update(),
            third.propose_remove(0),
            third.propose_add(self.packages[1]),
            server.propose_remove(GROUP_ID, 1, 1),
        ]
        self.sent = group.encrypt(b"hello" * 10)
        self.member = self.bob.state()
        self.signer = Signer.generate().export()
        self.key = alice.signer.public
        self.reload()

    def reload(self) -> None:
        self.working = Client.load(self.member).group(GROUP_ID)

    def rebuild(self, **changed: Any) -> PublicGroup:
        stored = {
            "ratchet_tree": self.tree,
            "group_context": self.group.group_context(),
            "confirmation_tag": self.group.confirmation_tag,
        }
        return PublicGroup.rebuild(**stored | changed)

    def everything(self) -> list[bytes]:
        shared = [*self.packages, self.packages[0][4:], self.welcome, *self.group_infos, self.tree, *self.commits]
        return [*shared, *self.proposals, self.sent, nested_trees(1000)[:100_000], vector(bytes(200_000))]

    def delivery_targets(self) -> list[Target]:
        update, adding = self.made[0], self.made[1]
        group, trees = self.group, [self.tree, nested_trees(1000), vector(bytes(200_000))]
        context = [group.group_context()]
        return [
            Target("peek", peek, self.everything()),
            Target("key_package", key_package, self.packages),
            Target("welcome", welcome, [self.welcome]),
            Target("group_info", group_info, self.group_infos),
            Target("verify_group_info", lambda data: verify_group_info(data, self.key), self.group_infos),
            Target("create", PublicGroup.create, self.group_infos[1:]),
            Target("create tree", lambda data: PublicGroup.create(self.group_infos[0], data), trees),
            Target("create info", lambda data: PublicGroup.create(data, self.tree), self.group_infos),
            Target("rebuild tree", lambda data: self.follow(self.rebuild(ratchet_tree=data)), trees),
            Target("rebuild verified", lambda data: self.rebuild(ratchet_tree=data, verify=True), trees),
            Target("rebuild context", lambda data: self.rebuild(group_context=data, verify=True), context),
            Target("rebuild tag", lambda data: self.rebuild(confirmation_tag=data), [group.confirmation_tag]),
            Target("rebuild proposals", lambda data: self.rebuild(proposals=[data]), self.proposals),
            Target("process_proposal", group.process_proposal, self.proposals),
            Target("process_commit", group.process_commit, self.commits),
            Target(
                "process_commit info",
                lambda data: group.process_commit(update.commit, group_info=data),
                [update.group_info, *self.group_infos],
            ),
            Target(
                "process_commit welcome",
                lambda data: group.process_commit(adding.commit, welcomes=[data]),
                [adding.welcome or b""],
            ),
            Target("signer", ExternalSigner.load, [self.signer]),
        ]

    def follow(self, group: PublicGroup) -> None:
        """A damaged tree may be stored; what is asked of it later must not fail either."""
        group.members()
        for message in (*self.proposals[:1], *self.commits):
            try:
                group.process_commit(message)
            except MlsError as refusal:
                if refusal.code.startswith("internal."):
                    raise

    def client_targets(self) -> list[Target]:
        return [
            Target(
                "client.process", lambda data: self.working.process(data), [self.sent, *self.commits, *self.proposals]
            ),
            Target("client.join", lambda data: Client.load(self.invited).join(data), [self.welcome]),
            Target("client.join tree", lambda data: Client.load(self.invited).join(self.welcome, data), [self.tree]),
            Target("client.join_external", lambda data: Client(b"z").join_external(data, self.tree), self.group_infos),
            Target("client.load", Client.load, [self.member]),
            Target("client.signer", Signer.load, [self.signer]),
        ]


def mutated(chance: random.Random, seed: bytes, others: list[bytes]) -> bytes:
    data = bytearray(seed)
    if len(data) > 50_000 and chance.random() < 0.98:
        del data[chance.randrange(2000) :]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8, 30))):
        change(chance, data, others)
    return bytes(data)


def change(chance: random.Random, data: bytearray, others: list[bytes]) -> None:
    place = chance.randrange(len(data) + 1)
    if place == len(data) or chance.random() < 0.1:
        data[place:place] = chance.randbytes(chance.randrange(1, 9))
        return
    changes: list[Callable[[random.Random, bytearray, int], None]] = [flip, edge, cut, drop, prefix, repeat, noise]
    if chance.random() < 0.12:
        splice(chance, data, place, chance.choice(others))
    else:
        chance.choice(changes)(chance, data, place)


def flip(chance: random.Random, data: bytearray, place: int) -> None:
    data[place] ^= 1 << chance.randrange(8)


def edge(chance: random.Random, data: bytearray, place: int) -> None:
    data[place] = chance.choice(EDGES)


def cut(_: random.Random, data: bytearray, place: int) -> None:
    del data[place:]


def drop(chance: random.Random, data: bytearray, place: int) -> None:
    del data[place : place + chance.randrange(1, 40)]


def prefix(chance: random.Random, data: bytearray, place: int) -> None:
    data[place : place + 4] = chance.choice(PREFIXES)


def repeat(chance: random.Random, data: bytearray, place: int) -> None:
    start = chance.randrange(len(data))
    data[place:place] = data[start : start + chance.randrange(1, 200)]


def noise(chance: random.Random, data: bytearray, place: int) -> None:
    data[place : place + 8] = chance.randbytes(8)


def splice(chance: random.Random, data: bytearray, place: int, other: bytes) -> None:
    start = chance.randrange(len(other))
    data[place : place + chance.randrange(1, 100)] = other[start : start + chance.randrange(1, 400)]


def codes(
    world: World, targets: list[Target], inputs: int, seed: int
) -> tuple[dict[str, collections.Counter[str]], list[tuple[str, str, bytes]]]:
    """How often each target gave which code, and the inputs at which the library failed."""
    chance = random.Random(seed)
    others = world.everything()
    seen: dict[str, collections.Counter[str]] = {target.name: collections.Counter() for target in targets}
    failures = []
    for number in range(inputs):
        target = targets[number % len(targets)]
        data = mutated(chance, chance.choice(target.seeds if chance.random() < 0.7 else others), others)
        try:
            target.call(data)
            seen[target.name]["accepted"] += 1
        except MlsError as refusal:
            seen[target.name][refusal.code] += 1
            if refusal.code.startswith("internal."):
                failures.append((target.name, str(refusal), data))
                world.reload()
    return seen, failures


def main() -> int:
    inputs, seed, megabytes = (int(given) for given in (*sys.argv[1:], *("100000", "1", "3000")[len(sys.argv) - 1 :]))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, megabytes * 2**20))
    world = World()
    started = time.perf_counter()
    seen, failures = codes(world, world.delivery_targets() + world.client_targets(), inputs, seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{inputs} inputs, {time.perf_counter() - started:.0f} s, at most {peak} MB")
    for name, counted in seen.items():
        print(f"{name:24} {dict(counted.most_common(8))}")
    for name, message, data in failures[:20]:
        print(f"FAILED {name}: {message}: {data.hex()[:2000]}")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
