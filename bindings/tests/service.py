"""A delivery service in forty lines: it keeps what RFC 9420 encodes, and nothing else."""

from collections.abc import Sequence

from openmls.client import Client, CommitBundle, Group
from openmls.delivery import CommitInfo, Policy, ProposalInfo, PublicGroup

GROUP_ID = b"room-1"


class Service:
    def __init__(self, group_info: bytes, ratchet_tree: bytes | None = None) -> None:
        self.group_info = group_info
        self._keep(PublicGroup.create(group_info, ratchet_tree))

    def _keep(self, group: PublicGroup) -> None:
        self.ratchet_tree = group.ratchet_tree()
        self.group_context = group.group_context()
        self.confirmation_tag = group.confirmation_tag
        self.proposals: list[bytes] = []
        assert self.group() == group

    def group(self, *, verify: bool = False) -> PublicGroup:
        return PublicGroup.rebuild(
            ratchet_tree=self.ratchet_tree,
            group_context=self.group_context,
            confirmation_tag=self.confirmation_tag,
            proposals=self.proposals,
            verify=verify,
        )

    def propose(self, message: bytes) -> ProposalInfo:
        info, group = self.group().process_proposal(message)
        self.proposals.append(message)
        assert self.group() == group
        return info

    def commit(self, bundle: CommitBundle, *, policy: Policy | None = None) -> CommitInfo:
        welcomes = [bundle.welcome] if bundle.welcome else []
        info, group = self.group().process_commit(
            bundle.commit, group_info=bundle.group_info, welcomes=welcomes, policy=policy
        )
        self._keep(group)
        self.group_info = bundle.group_info
        return info


def start(
    creator: bytes = b"alice", *, external_senders: Sequence[tuple[bytes, bytes]] = (), ciphersuite: int = 1
) -> tuple[Service, Client, Group]:
    client = Client(creator, ciphersuite=ciphersuite)
    group = client.create_group(GROUP_ID, external_senders=external_senders)
    return Service(group.group_info(), group.ratchet_tree()), client, group


def let_in(service: Service, group: Group, *names: bytes) -> tuple[list[Client], list[Group]]:
    """``group`` adds a new client of each name, and all of them join."""
    clients = [Client(name, ciphersuite=group.ciphersuite) for name in names]
    bundle = group.commit(add=[client.key_packages(1)[0] for client in clients])
    service.commit(bundle)
    group.confirm()
    assert bundle.welcome
    return clients, [client.join(bundle.welcome, service.ratchet_tree) for client in clients]


def three() -> tuple[Service, list[Client], list[Group]]:
    """Alice (leaf 0), Bob (1) and Carol (2)."""
    service, alice, group = start()
    clients, groups = let_in(service, group, b"bob", b"carol")
    return service, [alice, *clients], [group, *groups]


def agree(service: Service, *groups: Group) -> None:
    """The service and every member see one state."""
    followed = service.group(verify=True)
    leaves = [(member.leaf_index, member.identity, member.signature_key) for member in followed.members()]
    for group in groups:
        assert group.epoch == followed.epoch
        assert group.ratchet_tree() == service.ratchet_tree
        assert [(m.leaf_index, m.identity, m.signature_key) for m in group.members()] == leaves
    assert len({group.epoch_authenticator() for group in groups}) == 1
