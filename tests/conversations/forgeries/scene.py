"""A convo with insiders and outsiders, and what any of them may send.

A row of a list of forgeries is a name, how the request is made, the refusal, and how its message begins, which is the
stable code where there is one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from openmls.client import CommitBundle, Group

from bindings.tests import craft
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import a_convo, a_device, packages_of, stored
from tests.wiring import b64

DAVE = "did:plc:dave"

INVALID_COMMIT, INVALID_GROUP_INFO, INVALID_WELCOME = "400 InvalidCommit", "400 InvalidGroupInfo", "400 InvalidWelcome"
EPOCH_MISMATCH, PACKAGE_NOT_FOUND = "409 EpochMismatch", "409 KeyPackageNotFound"
NOT_MEMBER, NOT_ADMIN, UNAUTHORIZED = "403 NotMember", "403 NotAdmin", "403 Unauthorized"
STRANGER = "You are not a member of this conversation."
CLOSED_DOOR = "You may not join this conversation by yourself."


@dataclass(frozen=True)
class Sent:
    """One request, as somebody sends it."""

    method: str
    by: str
    fields: dict[str, Any]


Row = tuple[str, Callable[["Scene"], Sent], str, str]


class Scene:
    """Alice, Bob with phone and laptop, and Carol share a convo; Dave and Mallory have devices and are outside."""

    def __init__(self) -> None:
        self.alice, self.bob, self.laptop, self.carol = Phone(ALICE), Phone(BOB), Phone(BOB, "laptop"), Phone(CAROL)
        self.talk = a_convo(self.alice, self.bob, self.laptop, self.carol)
        self.dave, self.mallory, self.tablet = Phone(DAVE), Phone(MALLORY), Phone(BOB, "tablet")
        for phone in (self.dave, self.mallory, self.tablet):
            a_device(phone)

    def group(self, phone: Phone) -> Group:
        return phone.group(self.talk.id)

    def leaf(self, phone: Phone) -> int:
        return self.group(phone).own_leaf

    def renewal(self, phone: Phone, **options: Any) -> CommitBundle:
        return self.group(phone).commit(update=True, **options)

    def addition(self, *phones: Phone, by: Phone | None = None) -> CommitBundle:
        return self.group(by or self.bob).commit(add=packages_of(*phones))

    def entry(self, phone: Phone) -> CommitBundle:
        """The phone commits itself in from outside."""
        return phone.client.join_external(self.group(self.alice).group_info(), self.group(self.alice).ratchet_tree())[1]

    def elsewhere(self, phone: Phone, **options: Any) -> Group:
        """A group of this phone alone, one epoch old."""
        group = phone.client.create_group(uuid4().bytes, **options)
        group.commit(update=True)
        group.confirm()
        return group

    def commits(self, by: str, made: CommitBundle, *dids: str, **changes: Any) -> Sent:
        fields = {"convoId": self.talk.id, "didList": list(dids)}
        fields |= {"commit": b64(made.commit), "groupInfo": b64(made.group_info)}
        welcome = {"welcomeMessage": b64(made.welcome)} if made.welcome else {}
        return Sent("addMembers", by, fields | welcome | changes)

    def removes(self, by: str, made: CommitBundle, target: str) -> Sent:
        sent = self.commits(by, made, targetDid=target, idempotencyKey="k1")
        return Sent("removeMember", by, {name: value for name, value in sent.fields.items() if name != "didList"})

    def enters(self, by: str, made: CommitBundle, **changes: Any) -> Sent:
        fields = {"convoId": self.talk.id, "externalCommit": b64(made.commit), "groupInfo": b64(made.group_info)}
        return Sent("processExternalCommit", by, fields | changes)

    def leaves(self, by: str, proposal: bytes, **changes: Any) -> Sent:
        return Sent("leaveConvo", by, {"convoId": self.talk.id, "commit": b64(proposal)} | changes)

    def uploads(self, by: str, info: bytes, **changes: Any) -> Sent:
        fields = {"convoId": self.talk.id, "groupInfo": b64(info), "epoch": self.talk.convo.epoch}
        return Sent("updateGroupInfo", by, fields | changes)

    def pathless(self, *proposals: bytes, by: str = BOB, signer: Phone | None = None, leaf: int | None = None) -> Sent:
        """A commit of proposals written by hand; the GroupInfo beside it is sound and of the old epoch."""
        author = signer or self.bob
        place = self.leaf(author) if leaf is None else leaf
        commit = craft.commit(stored(self.talk), author.client.signer, *proposals, leaf=place)
        fields = {"convoId": self.talk.id, "didList": [], "commit": b64(commit)}
        return Sent("addMembers", by, fields | {"groupInfo": b64(self.group(self.alice).group_info())})
