"""MLS alone, in the binding: what a verified commit costs before any database is asked."""

from dataclasses import dataclass

from openmls.client import Client, CommitBundle, Group
from openmls.delivery import Limits, Policy, PublicGroup

from bench.rows import Figure, cpu_ms, row
from conversations.framing import StoredGroup

SIZES = (2, 10, 100, 500, 1000, 2000)
# So many members, evenly spaced, have put keys into the tree above them.
COMMITTERS = 64
LIMITS = Limits(max_members=10_000)
COMMIT_CPU_MS, PROMISED_SIZE = 4.0, 1000


@dataclass
class Grown:
    """A group as the server keeps it, and its newest member."""

    stored: StoredGroup
    group_info: bytes
    newest: Group

    def rebuild(self) -> PublicGroup:
        kept = self.stored
        return PublicGroup.rebuild(
            ratchet_tree=kept.ratchet_tree,
            group_context=kept.group_context,
            confirmation_tag=kept.confirmation_tag,
            limits=LIMITS,
        )

    def verify(self, made: CommitBundle) -> StoredGroup:
        """All that the server does about a commit but write it down."""
        _, after = self.rebuild().process_commit(
            made.commit, group_info=made.group_info, limits=LIMITS, policy=Policy(require_group_info=True)
        )
        return StoredGroup.of(after)


def grown(size: int) -> Grown:
    """Founded by one, joined by all in one commit, and its tree filled by members that come in again."""
    clients = [Client(b"did:plc:member%05d" % number) for number in range(size)]
    founder = clients[0].create_group(b"bench")
    public = PublicGroup.create(founder.group_info(), founder.ratchet_tree(), limits=LIMITS)
    made = founder.commit(add=[client.key_packages(1)[0] for client in clients[1:]])
    _, public = public.process_commit(
        made.commit, group_info=made.group_info, welcomes=[made.welcome or b""], limits=LIMITS
    )
    founder.confirm()
    newest, door = founder, made.group_info
    for client in clients[1 :: max(1, size // COMMITTERS)]:
        newest, made = client.join_external(door, public.ratchet_tree())
        _, public = public.process_commit(made.commit, group_info=made.group_info, limits=LIMITS)
        door = made.group_info
    return Grown(StoredGroup.of(public), door, newest)


@row("groups-binding", needs_servers=False)
def groups_binding() -> list[Figure]:
    """processor time in the binding, by the size of the group"""
    return [figure for size in SIZES for figure in of_size(size)]


def of_size(size: int) -> list[Figure]:
    group = grown(size)
    times = min(200, max(5, 4000 // size))
    made = group.newest.commit(update=True)
    entry = Client(b"did:plc:newcomer").join_external(group.group_info, group.stored.ratchet_tree)[1]
    public = group.rebuild()

    def enter() -> object:
        return Client(b"did:plc:newcomer").join_external(group.group_info, group.stored.ratchet_tree)

    measured = {
        "commit verified, from stored to stored": cpu_ms(lambda: group.verify(made), times=times),
        "rebuild alone": cpu_ms(group.rebuild, times=times),
        "tree exported": cpu_ms(public.ratchet_tree, times=times),
        "external commit verified": cpu_ms(lambda: group.verify(entry), times=times),
        "external commit made by the device": cpu_ms(enter, times=5),
    }
    at_most = {"commit verified, from stored to stored": COMMIT_CPU_MS} if size == PROMISED_SIZE else {}
    return [
        *(Figure(f"{size}: {what}", value, "ms CPU", at_most.get(what)) for what, value in measured.items()),
        Figure(f"{size}: stored state", len(group.stored.ratchet_tree) / 1000, "kB"),
        Figure(f"{size}: commit", len(made.commit) / 1000, "kB"),
    ]
