"""Eight devices of six accounts and one tracked convo: the model of who is in it, and what everybody must agree on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from openmls.client import Client, CommitBundle
from openmls.delivery import Policy, PublicGroup

from conversations.errors import Unauthorized
from conversations.models import Convo, GroupState, Member, Message, Proposal
from conversations.selectors import Asking
from conversations.services import add_members, read_group_info
from keypackages.services import publish_key_packages
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import Talk, a_convo, a_device, bundle_of, join, packages_of, stored

ONE_DEVICE = (CAROL, "did:plc:dan", "did:plc:erin", "did:plc:frank")
DEVICES = [
    *((did, name) for did in (ALICE, BOB) for name in ("phone", "laptop")),
    *((did, "phone") for did in ONE_DEVICE),
]


@dataclass(eq=False)
class Seat:
    """A device: whether the convo counts it as a member, and whether it has the group's state."""

    phone: Phone
    member: bool = False
    working: bool = False

    @property
    def asking(self) -> Asking:
        return Asking(self.phone.did, self.phone.device_id)


class Crowd:
    """The model, and the group followed in memory from commit to commit without ever being stored."""

    def __init__(self) -> None:
        self.seats = [Seat(Phone(did, name)) for did, name in DEVICES]
        # Whose place is whose leaf: every key a device has ever had.
        self.keys: dict[bytes, tuple[str, str]] = {}
        for seat in self.seats:
            self.register(seat)
        founder = self.seats[0]
        self.talk: Talk = a_convo(founder.phone)
        founder.member = founder.working = True
        group = founder.phone.group(self.talk.id)
        self.followed = PublicGroup.create(group.group_info(), group.ratchet_tree())
        # Accounts that others have put out.
        self.removed: set[str] = set()
        self.self_removes: dict[Seat, bytes] = {}

    def register(self, seat: Seat) -> None:
        a_device(seat.phone)
        self.keys[seat.phone.signature_key] = (seat.phone.did, seat.phone.device_id)

    def working(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.working]

    def members(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.member]

    def others(self, seat: Seat) -> list[Seat]:
        return [other for other in self.working() if other is not seat]

    def leaves(self, *seats: Seat) -> list[int]:
        """Every leaf of these devices, of whatever key."""
        ids = {seat.phone.device_id for seat in seats}
        return [leaf.leaf_index for leaf in self.followed.members() if self.keys[leaf.signature_key][1] in ids]

    def unasked(self, leaves: Iterable[int]) -> list[int]:
        """Those of the leaves that no pending proposal removes already."""
        asked = {proposal.removed for proposal in self.followed.pending_proposals}
        return [leaf for leaf in leaves if leaf not in asked]

    def outside(self) -> list[Seat]:
        return [seat for seat in self.seats if not self.leaves(seat)]

    def may_come_back(self, seat: Seat) -> bool:
        """What is certain: a member's account may, and one that was in and that nobody has put out."""
        did = seat.phone.did
        if any(other.member for other in self.seats if other.phone.did == did):
            return True
        return did not in self.removed and Member.objects.filter(convo_id=self.talk.id, did=did).exists()

    def fresh_packages(self, seats: list[Seat]) -> list[bytes]:
        for seat in seats:
            assert publish_key_packages(did=seat.phone.did, items=seat.phone.items(1)) == {}
        return packages_of(*(seat.phone for seat in seats))

    def commit(self, by: Seat, *, send: Callable[[CommitBundle], object] | None = None, **wanted: object) -> None:
        """``by`` commits, the server takes it, and everybody follows."""
        group = by.phone.group(self.talk.id)
        made: CommitBundle = group.commit(**wanted)  # type: ignore[arg-type]
        (send or self.sending(by))(made)
        group.confirm()
        self.follow(made, by)

    def sending(self, by: Seat, *dids: str) -> Callable[[CommitBundle], object]:
        return lambda made: add_members(
            convo_id=self.talk.id, who=by.asking, dids=list(dids), bundle=bundle_of(made), key=None
        )

    def follow(self, made: CommitBundle, by: Seat) -> None:
        welcomes = [made.welcome] if made.welcome else []
        _, self.followed = self.followed.process_commit(made.commit, group_info=made.group_info, welcomes=welcomes)
        self.self_removes.clear()
        for seat in self.others(by):
            group = seat.phone.group(self.talk.id)
            group.process(made.commit)
            seat.working = group.active

    def hear(self, leaver: Seat, proposal: bytes, *, covered_from_outside: bool) -> None:
        """Everybody takes note of a leaver's proposal."""
        _, self.followed = self.followed.process_proposal(proposal)
        for seat in self.others(leaver):
            seat.phone.group(self.talk.id).process(proposal)
        if covered_from_outside:
            self.self_removes[leaver] = proposal

    def let_in(self, seats: list[Seat], *, joining: bool) -> None:
        """The commit has made them members; they join by their Welcomes or are never heard of."""
        for seat in seats:
            seat.member, seat.working = True, joining
            self.removed.discard(seat.phone.did)
            self.forget(seat)
            if joining:
                join(self.talk, seat.phone)

    def put_out(self, seats: list[Seat]) -> None:
        for seat in seats:
            seat.member = seat.working = False
            self.forget(seat)

    def lose(self, seat: Seat) -> None:
        seat.working = False
        self.forget(seat)

    def forget(self, seat: Seat) -> None:
        if bytes.fromhex(self.talk.id) in seat.phone.client.group_ids():
            seat.phone.client.forget_group(bytes.fromhex(self.talk.id))

    def agree(self) -> None:
        """The server's rows, its stored group, the group followed in memory and every device's tell the same."""
        convo, state = Convo.objects.get(pk=self.talk.id), GroupState.objects.get(convo_id=self.talk.id)
        kept = stored(self.talk)
        assert kept == self.followed
        assert bytes(state.ratchet_tree) == self.followed.ratchet_tree()
        assert bytes(state.group_context) == self.followed.group_context()
        assert bytes(state.confirmation_tag) == self.followed.confirmation_tag
        assert state.epoch == convo.epoch == self.followed.epoch
        self._agree_on_the_roster()
        self._agree_with_the_devices(bytes(state.ratchet_tree))
        self._agree_on_the_log(convo)
        assert Proposal.objects.filter(convo=convo).count() == len(kept.pending_proposals)
        self._find_the_door_open(kept)
        self._find_it_shut()

    def _agree_on_the_roster(self) -> None:
        rows = Member.objects.filter(convo_id=self.talk.id, left_at__isnull=True)
        tree = {(leaf.leaf_index, *self.keys[leaf.signature_key]) for leaf in self.followed.members()}
        assert set(rows.values_list("leaf_index", "did", "device_id")) == tree
        assert len(rows) == len(tree)
        active = rows.filter(leaving_at__isnull=True).values_list("device_id", flat=True)
        assert sorted(active) == sorted(seat.phone.device_id for seat in self.members())

    def _agree_with_the_devices(self, tree: bytes) -> None:
        leaves = [(leaf.leaf_index, leaf.identity, leaf.signature_key) for leaf in self.followed.members()]
        groups = [seat.phone.group(self.talk.id) for seat in self.working()]
        for group in groups:
            assert group.epoch == self.followed.epoch
            assert group.ratchet_tree() == tree
            assert [(leaf.leaf_index, leaf.identity, leaf.signature_key) for leaf in group.members()] == leaves
        assert len({group.epoch_authenticator() for group in groups}) <= 1

    def _agree_on_the_log(self, convo: Convo) -> None:
        entries = Message.objects.filter(convo=convo).order_by("seq")
        assert list(entries.values_list("seq", flat=True)) == list(range(1, convo.last_seq + 1))
        epochs = list(entries.filter(kind="commit").values_list("epoch", flat=True))
        assert epochs == list(range(1, convo.epoch + 1))

    def _find_the_door_open(self, kept: PublicGroup) -> None:
        """A new device of a member account, and each that has its keys and no state, could come in right now."""
        ways = [(seat.phone.did, seat.phone.client.signer) for seat in self.members() if not seat.working]
        for did, signer in [*ways, *((seat.phone.did, None) for seat in self.members()[:1])]:
            door = read_group_info(convo_id=self.talk.id, who=Asking(did))
            assert door.epoch == kept.epoch
            _, made = Client(did.encode(), signer=signer).join_external(door.group_info, door.ratchet_tree)
            info, _ = kept.process_commit(
                made.commit, group_info=made.group_info, policy=Policy(require_group_info=True)
            )
            assert info.kind in {"external_join", "external_resync"}

    def _find_it_shut(self) -> None:
        """Whom others have put out does not come back by itself, however long ago that was."""
        for did in self.removed.intersection(ONE_DEVICE):
            with pytest.raises(Unauthorized):
                read_group_info(convo_id=self.talk.id, who=Asking(did))
