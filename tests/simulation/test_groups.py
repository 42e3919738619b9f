"""Any order of adding, removing, renewing, leaving, losing and coming back: the roster is the tree, and all agree.

The model knows which devices are members and which of them have the group's state; everything else is compared with
the group as it is followed in memory, commit by commit. One seed is one history.
"""

import os
import random
from collections.abc import Sequence

import pytest
from django.conf import LazySettings
from openmls.client import CommitBundle as MadeCommit

from catbird_mls.xrpc.errors import XrpcError
from conversations.models import Member
from conversations.selectors import Asking
from conversations.services import (
    CommitBundle,
    add_members,
    ask_for_readdition,
    ask_to_rejoin,
    leave_convo,
    process_external_commit,
    read_group_info,
    remove_member,
)
from tests.conftest import everything_written
from tests.devices import MALLORY, SUITE, Phone
from tests.forging import flipped
from tests.simulation.crowd import Crowd, Seat
from tests.situations import bundle_of

# More with CATBIRD_HISTORIES, for a long search by hand.
HISTORIES = int(os.environ.get("CATBIRD_HISTORIES", "12"))
STEPS = 30
IN_THE_PATH = -150
AUDIT = ("conversations_rejoinattempt", "conversations_refusal")


def written() -> dict[str, str]:
    return {table: content for table, content in everything_written().items() if table not in AUDIT}


class History:
    """What happens to the crowd, by chance. An act that nobody can do just then says so by returning False."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - chance, not secrecy
        self.crowd = Crowd()
        self.convo_id = self.crowd.talk.id
        self.acts = [
            *(self.add, self.add, self.add, self.renew, self.leave, self.leave, self.come_back, self.come_back),
            *(self.remove_an_account, self.remove_ones_other_device, self.sweep_up_leavers, self.be_added_anew),
            *(self.lose_the_state, self.install_anew, self.forge),
        ]

    def run(self) -> None:
        done = 0
        while done < STEPS:
            if self.chance.choice(self.acts)() is not False:
                done += 1
                self.crowd.agree()

    def one_of(self, seats: Sequence[Seat]) -> Seat | None:
        return self.chance.choice(seats) if seats else None

    def add(self) -> bool | None:
        """One to three devices, which join by their Welcomes or are never heard of."""
        author, outside = self.one_of(self.crowd.working()), self.crowd.outside()
        if author is None or not outside:
            return False
        newcomers = self.chance.sample(outside, min(len(outside), self.chance.randint(1, 3)))
        dids = sorted({seat.phone.did for seat in newcomers})
        packages = self.crowd.fresh_packages(newcomers)
        self.crowd.commit(author, send=self.crowd.sending(author, *dids), add=packages)
        return self.crowd.let_in(newcomers, joining=self.chance.random() < 0.8)

    def renew(self) -> bool | None:
        author = self.one_of(self.crowd.working())
        return False if author is None else self.crowd.commit(author, update=True)

    def remove_an_account(self) -> bool | None:
        """With the role, every device of it."""
        author, did = self.one_of(self.admins()), self.chance.choice(self.crowd.seats).phone.did
        targets = [seat for seat in self.crowd.seats if seat.phone.did == did]
        leaves = self.crowd.leaves(*targets)
        if author is None or did == author.phone.did or not leaves:
            return False

        def send(made: MadeCommit) -> None:
            key = str(self.crowd.followed.epoch)
            remove_member(convo_id=self.convo_id, who=author.asking, target_did=did, bundle=bundle_of(made), key=key)

        if any(seat.member for seat in targets):
            self.crowd.removed.add(did)
        self.crowd.commit(author, send=send, remove=self.crowd.unasked(leaves))
        return self.crowd.put_out(targets)

    def admins(self) -> list[Seat]:
        rows = Member.objects.filter(convo_id=self.convo_id, is_admin=True, left_at__isnull=True)
        ids = set(rows.filter(leaving_at__isnull=True).values_list("device_id", flat=True))
        return [seat for seat in self.crowd.working() if seat.phone.device_id in ids]

    def remove_ones_other_device(self) -> bool | None:
        author = self.one_of(self.crowd.working())
        mine = [
            seat
            for seat in self.crowd.members()
            if author and seat.phone.did == author.phone.did and seat is not author
        ]
        if author is None or not mine:
            return False
        self.crowd.removed.add(author.phone.did)
        self.crowd.commit(author, remove=self.crowd.unasked(self.crowd.leaves(*mine)))
        return self.crowd.put_out(mine)

    def leave(self) -> bool | None:
        """With a SelfRemove, with a Remove, or without a word; somebody always stays."""
        members = self.crowd.members()
        if len(members) < 2:
            return False
        leaver, proposal = self.chance.choice(members), None
        how = self.chance.choice(["self_remove", "remove", "nothing"])
        if leaver.working and how != "nothing":
            group = leaver.phone.group(self.convo_id)
            proposal = group.propose_self_remove() if how == "self_remove" else group.propose_leave()
            self.crowd.hear(leaver, proposal, covered_from_outside=how == "self_remove")
        leave_convo(convo_id=self.convo_id, who=leaver.asking, target_did=None, proposal=proposal)
        return self.crowd.put_out([leaver])

    def sweep_up_leavers(self) -> bool | None:
        """Leaves of leavers that no proposal removes; anybody may."""
        author = self.one_of(self.crowd.working())
        rows = Member.objects.filter(convo_id=self.convo_id, left_at__isnull=True, leaving_at__isnull=False)
        leaves = self.crowd.unasked(leaf for leaf in rows.values_list("leaf_index", flat=True) if leaf is not None)
        return False if author is None or not leaves else self.crowd.commit(author, remove=leaves)

    def lose_the_state(self) -> bool | None:
        seat = self.one_of(self.crowd.working())
        return False if seat is None else self.crowd.lose(seat)

    def install_anew(self) -> None:
        """The same device with new keys; its old leaf stays where it is."""
        seat = self.chance.choice(self.crowd.seats)
        seat.phone = Phone(seat.phone.did, seat.phone.name, uuid=seat.phone.uuid)
        seat.working = False
        self.crowd.register(seat)

    def come_back(self) -> bool | None:
        """By an external commit: a leaver, a device without its state, a new one, or one that has nothing to mend."""
        seat = self.one_of([seat for seat in self.crowd.seats if self.crowd.may_come_back(seat)])
        if seat is None:
            return False
        door = read_group_info(convo_id=self.convo_id, who=Asking(seat.phone.did))
        others = [message for leaver, message in self.crowd.self_removes.items() if leaver is not seat]
        covered = others if self.chance.random() < 0.5 else []
        _, made = seat.phone.client.join_external(door.group_info, door.ratchet_tree, self_removes=covered)
        process_external_commit(convo_id=self.convo_id, who=seat.asking, bundle=bundle_of(made), key=None)
        self.crowd.follow(made, seat)
        seat.member = seat.working = True
        return None

    def be_added_anew(self) -> bool | None:
        """The way back where the device asks and a member answers."""
        author = self.one_of(self.crowd.working())
        lost = [seat for seat in self.crowd.members() if not seat.working]
        seat = self.one_of([seat for seat in lost if author and seat.phone.did != author.phone.did])
        if author is None or seat is None:
            return False
        if self.chance.random() < 0.5:
            item = {"key_package": seat.phone.packages()[0], "cipher_suite": SUITE}
            ask_to_rejoin(convo_id=self.convo_id, who=seat.asking, item=item)
        else:
            ask_for_readdition(convo_id=self.convo_id, who=seat.asking)
        leaves = self.crowd.unasked(self.crowd.leaves(seat))
        packages = self.crowd.fresh_packages([seat])
        self.crowd.commit(author, send=self.crowd.sending(author, seat.phone.did), remove=leaves, add=packages)
        return self.crowd.let_in([seat], joining=True)

    def forge(self) -> bool | None:
        """What is refused changes nothing, in the middle of whatever has happened."""
        author = self.one_of(self.crowd.working())
        if author is None:
            return False
        made = author.phone.group(self.convo_id).commit(update=True)
        author.phone.group(self.convo_id).discard()
        who, bundle = self.chance.choice([self.flipped, self.by_another, self.behind_another_door, self.too_late])(
            author, made
        )
        before = written()
        with pytest.raises(XrpcError):
            add_members(convo_id=self.convo_id, who=who, dids=[], bundle=bundle, key=None)
        assert written() == before
        return None

    def flipped(self, author: Seat, made: MadeCommit) -> tuple[Asking, CommitBundle]:
        return author.asking, CommitBundle(flipped(made.commit, IN_THE_PATH), [], made.group_info)

    def by_another(self, author: Seat, made: MadeCommit) -> tuple[Asking, CommitBundle]:
        others = [seat.asking for seat in self.crowd.members() if seat is not author]
        return self.chance.choice([Asking(MALLORY), *others]), bundle_of(made)

    def behind_another_door(self, author: Seat, made: MadeCommit) -> tuple[Asking, CommitBundle]:
        old = author.phone.group(self.convo_id).group_info()
        return author.asking, CommitBundle(made.commit, [], old)

    def too_late(self, author: Seat, made: MadeCommit) -> tuple[Asking, CommitBundle]:
        self.crowd.commit(author, update=True)
        return author.asking, bundle_of(made)


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_in_every_history_the_roster_is_the_tree(seed: int, settings: LazySettings) -> None:
    settings.RATE_LIMIT_EXTERNAL_COMMIT = settings.RATE_LIMIT_REJOIN = 1000
    History(seed).run()
