"""Writes golden public states: a group as it is stored, the next commit, and the group as it is stored afterwards.

    python -m tests.vectors.make tests/vectors/openmls-0.9.2

A folder is written once, by the version it is named after, and kept: what is in databases does not change either.
"""

import base64
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openmls.client import Client, CommitBundle, Group, Signer
from openmls.delivery import CommitInfo, ExternalSigner, Limits, PublicGroup

GROUP_ID = b"golden"
# A vector outlives the packages in it.
CENTURY_SECONDS = 100 * 365 * 86_400
PATIENT = Limits(max_lifetime_seconds=2 * CENTURY_SECONDS)


class Scene:
    """A group of clients and what the server keeps of it."""

    def __init__(
        self, size: int, *, ciphersuite: int = 1, external_senders: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self.clients = [Client(b"member %d" % number, ciphersuite=ciphersuite) for number in range(size)]
        founder = self.clients[0].create_group(GROUP_ID, external_senders=external_senders)
        self.groups: list[Group] = [founder]
        self.public = PublicGroup.create(founder.group_info(), founder.ratchet_tree())
        self.proposals: list[bytes] = []
        if size > 1:
            made = founder.commit(add=[client.key_packages(1)[0] for client in self.clients[1:]])
            self.take(founder, made)
            self.groups += [client.join(made.welcome or b"", self.public.ratchet_tree()) for client in self.clients[1:]]

    @property
    def ciphersuite(self) -> int:
        return self.public.ciphersuite

    def take(self, by: Group, made: CommitBundle) -> None:
        """The server takes the commit, and so does everybody."""
        welcomes = [made.welcome] if made.welcome else []
        _, self.public = self.public.process_commit(made.commit, group_info=made.group_info, welcomes=welcomes)
        self.proposals.clear()
        by.confirm()
        for group in self.groups:
            if group is not by and group.active:
                group.process(made.commit)

    def propose(self, proposal: bytes, *, by: Group | None = None) -> None:
        _, self.public = self.public.process_proposal(proposal)
        self.proposals.append(proposal)
        for group in self.groups:
            if group is not by:
                group.process(proposal)

    def renew(self, *places: int) -> None:
        for place in places:
            self.take(self.groups[place], self.groups[place].commit(update=True))

    def with_gaps(self) -> "Scene":
        """Every third leaf is empty, and parents are set all over the tree."""
        self.renew(len(self.groups) // 2, len(self.groups) - 1)
        self.take(self.groups[0], self.groups[0].commit(remove=list(range(2, len(self.groups) - 1, 3))))
        return self


def renewal(scene: Scene) -> CommitBundle:
    return scene.groups[-1].commit(update=True)


def rotation(scene: Scene) -> CommitBundle:
    return scene.groups[-1].commit(new_signer=Signer.generate(scene.ciphersuite))


def addition(scene: Scene) -> CommitBundle:
    newcomer = Client(b"newcomer", ciphersuite=scene.ciphersuite)
    return scene.groups[0].commit(add=newcomer.key_packages(1, lifetime=CENTURY_SECONDS))


def shrinking(scene: Scene) -> CommitBundle:
    """The last leaves go, and with them the width of the tree."""
    return scene.groups[0].commit(
        remove=[scene.groups[place].own_leaf for place in (1, -1, -2) if place < len(scene.groups)]
    )


def entry(scene: Scene) -> CommitBundle:
    door = scene.groups[0]
    client = Client(b"newcomer", ciphersuite=scene.ciphersuite)
    return client.join_external(door.group_info(), door.ratchet_tree())[1]


def return_(scene: Scene) -> CommitBundle:
    door = scene.groups[0]
    return scene.clients[-1].join_external(door.group_info(), door.ratchet_tree())[1]


def covering_a_leave(scene: Scene) -> CommitBundle:
    leaver = scene.groups[1]
    scene.propose(leaver.propose_self_remove(), by=leaver)
    asking = scene.groups[2]
    scene.propose(asking.propose_update(), by=asking)
    return scene.groups[0].commit()


def entry_covering_a_leave(scene: Scene) -> CommitBundle:
    leaver = scene.groups[1]
    scene.propose(leaver.propose_self_remove(), by=leaver)
    door, client = scene.groups[0], Client(b"newcomer", ciphersuite=scene.ciphersuite)
    return client.join_external(door.group_info(), door.ratchet_tree(), self_removes=scene.proposals)[1]


def asked_by_the_server(ciphersuite: int) -> tuple[Scene, CommitBundle]:
    server = ExternalSigner.generate(ciphersuite)
    scene = Scene(5, ciphersuite=ciphersuite, external_senders=[(b"server", server.public)])
    scene.propose(server.propose_remove(GROUP_ID, scene.public.epoch, 3))
    return scene, scene.groups[0].commit()


def vectors() -> dict[str, tuple[Scene, CommitBundle]]:
    made: dict[str, tuple[Scene, CommitBundle]] = {}

    def add(name: str, scene: Scene, commit: Callable[[Scene], CommitBundle]) -> None:
        made[f"{name}-suite-{scene.ciphersuite}"] = scene, commit(scene)

    for suite in (1, 2, 3):
        add("one-renewal", Scene(1, ciphersuite=suite), renewal)
        add("five-covering-a-leave", Scene(5, ciphersuite=suite), covering_a_leave)
        add("five-entry", Scene(5, ciphersuite=suite).with_gaps(), entry)
        made[f"five-asked-by-the-server-suite-{suite}"] = asked_by_the_server(suite)
    add("two-renewal", Scene(2), renewal)
    add("two-shrinking", Scene(2), lambda scene: scene.groups[0].commit(remove=[1]))
    add("five-addition", Scene(5).with_gaps(), addition)
    add("five-rotation", Scene(5), rotation)
    add("five-return", Scene(5).with_gaps(), return_)
    add("five-entry-covering-a-leave", Scene(5), entry_covering_a_leave)
    add("twenty-renewal", Scene(20).with_gaps(), renewal)
    add("twenty-addition", Scene(20).with_gaps(), addition)
    add("twenty-shrinking", Scene(20).with_gaps(), shrinking)
    add("twenty-return", Scene(20).with_gaps(), return_)
    return made


def stored(group: PublicGroup) -> dict[str, str]:
    fields = (group.ratchet_tree(), group.group_context(), group.confirmation_tag)
    return dict(zip(("ratchet_tree", "group_context", "confirmation_tag"), map(text, fields), strict=True))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def effect(info: CommitInfo) -> dict[str, Any]:
    return {
        "kind": info.kind,
        "committer": info.committer,
        "added": [[leaf.leaf_index, text(leaf.signature_key)] for leaf in info.added],
        "removed": [[leaf.leaf_index, leaf.by] for leaf in info.removed],
        "updated": [[leaf.leaf_index, text(leaf.new_signature_key)] for leaf in info.updated],
        "covered": [text(reference) for reference in info.covered],
    }


def vector(scene: Scene, made: CommitBundle) -> dict[str, Any]:
    welcomes = [made.welcome] if made.welcome else []
    info, after = scene.public.process_commit(
        made.commit, group_info=made.group_info, welcomes=welcomes, limits=PATIENT
    )
    return {
        "made_at": int(time.time()),
        "ciphersuite": scene.ciphersuite,
        "before": stored(scene.public) | {"proposals": [text(proposal) for proposal in scene.proposals]},
        "commit": text(made.commit),
        "group_info": text(made.group_info),
        "welcomes": [text(welcome) for welcome in welcomes],
        "effect": effect(info),
        "after": stored(after),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir()
    for name, (scene, made) in vectors().items():
        (folder / f"{name}.json").write_text(json.dumps(vector(scene, made), indent=1) + "\n")


if __name__ == "__main__":
    main()
