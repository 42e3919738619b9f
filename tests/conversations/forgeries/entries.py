"""External commits: coming in from outside."""

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone
from openmls.client import Client, CommitBundle, Signer

from bindings.tests import craft
from bindings.tests.craft import u16, u32, vector
from conversations.models import Member
from conversations.selectors import Asking
from conversations.services import delete_device, leave_convo, process_external_commit
from tests import forging
from tests.conversations.forgeries.scene import (
    CLOSED_DOOR,
    DAVE,
    EPOCH_MISMATCH,
    INVALID_COMMIT,
    INVALID_GROUP_INFO,
    UNAUTHORIZED,
    Row,
    Scene,
    Sent,
)
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import a_convo, bundle_of, packages_of, remove, stored, update
from tests.wiring import b64

EXTENSIONS = 7
# Before its tags a commit ends with what its path encrypts.
IN_THE_PATH = -110


def smuggling(scene: Scene, proposal: bytes) -> Sent:
    made = scene.entry(scene.tablet)
    commit = forging.with_proposal(made.commit, scene.tablet.client.signer, stored(scene.talk), proposal)
    return scene.enters(BOB, made, externalCommit=b64(commit))


def named(scene: Scene, identity: str, signer: Signer) -> CommitBundle:
    """A device of this name and key commits itself in."""
    group = scene.group(scene.alice)
    return Client(identity.encode(), signer=signer).join_external(group.group_info(), group.ratchet_tree())[1]


def sitting_down(scene: Scene, intruder: Phone) -> Sent:
    """In a convo of Alice and Bob the intruder puts Bob's phone out and takes its leaf."""
    scene.talk = a_convo(Phone(ALICE), Phone(BOB))
    group, signer = stored(scene.talk), intruder.client.signer
    commit = forging.taking_the_second_leaf(group, signer, intruder.did.encode())
    # The binding finds another account's commit bad before it looks at the GroupInfo.
    fits = intruder.did == BOB
    info = (
        forging.group_info_for(group, commit, signer) if fits else scene.talk.founder.group(scene.talk.id).group_info()
    )
    fields = {"convoId": scene.talk.id, "externalCommit": b64(commit), "groupInfo": b64(info)}
    return Sent("processExternalCommit", intruder.did, fields)


def after(scene: Scene, happens: Callable[[Scene], object], by: Phone) -> Sent:
    happens(scene)
    return scene.enters(by.did, scene.entry(by))


def overtaken_entry(scene: Scene) -> Sent:
    made = scene.entry(scene.tablet)
    update(scene.talk, scene.alice)
    return scene.enters(BOB, made)


def replayed_by_another(scene: Scene) -> Sent:
    """Carol sends what has let Bob's tablet in."""
    made = scene.entry(scene.tablet)
    process_external_commit(convo_id=scene.talk.id, who=Asking(BOB), bundle=bundle_of(made), key=None)
    return scene.enters(CAROL, made)


def of_an_unseen_leave(scene: Scene) -> Sent:
    proposal = scene.group(scene.carol).propose_self_remove()
    group = scene.group(scene.alice)
    _, made = scene.tablet.client.join_external(group.group_info(), group.ratchet_tree(), self_removes=[proposal])
    return scene.enters(BOB, made)


def entry_with(scene: Scene, info: bytes | None) -> Sent:
    made = scene.entry(scene.tablet)
    return scene.enters(BOB, made, groupInfo=b64(info) if info is not None else None)


def entry_changed(scene: Scene, signer: Signer, **changes: object) -> Sent:
    made = scene.entry(scene.tablet)
    info = forging.changed_group_info(made.group_info, signer, **changes)
    return scene.enters(BOB, made, groupInfo=b64(info))


def entry_elsewhere(scene: Scene) -> Sent:
    other = scene.elsewhere(scene.alice)
    return scene.enters(BOB, scene.tablet.client.join_external(other.group_info(), other.ratchet_tree())[1])


def tampered_entry(scene: Scene) -> Sent:
    made = scene.entry(scene.tablet)
    return scene.enters(BOB, made, externalCommit=b64(forging.flipped(made.commit, IN_THE_PATH)))


def left_long_ago(scene: Scene) -> None:
    scene.talk.phones.remove(scene.carol)
    leave_convo(convo_id=scene.talk.id, who=Asking(CAROL), target_did=None, proposal=None)
    Member.objects.filter(did=CAROL).update(leaving_at=timezone.now() - timedelta(days=31))


EXTERNAL: list[Row] = [
    ("by a stranger", lambda s: s.enters(MALLORY, s.entry(s.mallory)), UNAUTHORIZED, CLOSED_DOOR),
    (
        "of a member, by a stranger",
        lambda s: s.enters(MALLORY, s.entry(s.tablet)),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    (
        "by somebody whom others removed",
        lambda s: after(s, lambda _: remove(s.talk, s.alice, CAROL), s.carol),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    ("by somebody who left long ago", lambda s: after(s, left_long_ago, s.carol), UNAUTHORIZED, CLOSED_DOOR),
    (
        "of a device nobody registered",
        lambda s: s.enters(BOB, s.entry(Phone(BOB, "unknown"))),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    (
        "of a device that was deleted",
        lambda s: after(s, lambda _: delete_device(did=BOB, handle=s.tablet.device_id), s.tablet),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    (
        "of another account's device",
        lambda s: s.enters(BOB, s.entry(s.dave)),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    (
        "in another account's name, with one's own key",
        lambda s: s.enters(BOB, named(s, DAVE, s.tablet.client.signer)),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    (
        "in one's own name, with another account's key",
        lambda s: s.enters(BOB, named(s, BOB, s.dave.client.signer)),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    (
        "of another device than the request names",
        lambda s: s.enters(BOB, s.entry(s.tablet), deviceId=s.bob.device_id),
        UNAUTHORIZED,
        CLOSED_DOOR,
    ),
    (
        "that replaces the leaf of another account with its own key",
        lambda s: s.enters(BOB, named(s, BOB, s.carol.client.signer)),
        INVALID_COMMIT,
        "policy.resync_identity",
    ),
    (
        "that puts another account out",
        lambda s: sitting_down(s, Phone(ALICE, "laptop")),
        INVALID_COMMIT,
        "policy.resync_identity",
    ),
    (
        "that puts one's other device out",
        lambda s: sitting_down(s, s.tablet),
        INVALID_COMMIT,
        "commit.removes_others",
    ),
    (
        "with an Add in it",
        lambda s: smuggling(s, u16(craft.ADD) + packages_of(s.dave)[0]),
        INVALID_COMMIT,
        "commit.invalid_external",
    ),
    (
        "with a removal in it",
        lambda s: smuggling(s, u16(craft.REMOVE) + u32(0)),
        INVALID_COMMIT,
        "commit.invalid_path",
    ),
    (
        "with new extensions in it",
        lambda s: smuggling(s, u16(EXTENSIONS) + vector(b"")),
        INVALID_COMMIT,
        "commit.invalid_external",
    ),
    (
        "with another group in it",
        lambda s: smuggling(s, u16(craft.REINIT) + craft.reinit_body()),
        INVALID_COMMIT,
        "commit.invalid_external",
    ),
    (
        "with two ways in",
        lambda s: smuggling(s, u16(forging.EXTERNAL_INIT) + vector(bytes(32))),
        INVALID_COMMIT,
        "commit.invalid_external",
    ),
    ("of a leave nobody published", of_an_unseen_leave, INVALID_COMMIT, "commit.invalid_path"),
    ("for a past epoch", overtaken_entry, EPOCH_MISMATCH, "The commit was made for epoch 1"),
    ("that let somebody else in", replayed_by_another, EPOCH_MISMATCH, "The commit was made for epoch 1"),
    ("of another group", entry_elsewhere, INVALID_COMMIT, "validation.wrong_group_id"),
    ("with a byte changed", tampered_entry, INVALID_COMMIT, "validation.bad_signature"),
    (
        "that is a member's commit",
        lambda s: s.enters(BOB, s.renewal(s.bob)),
        INVALID_COMMIT,
        "commit.not_external",
    ),
    ("without a GroupInfo", lambda s: entry_with(s, None), INVALID_COMMIT, "commit.missing_group_info"),
    (
        "with the GroupInfo it was made from",
        lambda s: entry_with(s, s.group(s.alice).group_info()),
        INVALID_GROUP_INFO,
        "group_info.context_mismatch",
    ),
    (
        "with a GroupInfo signed by another",
        lambda s: entry_changed(s, s.bob.client.signer),
        INVALID_GROUP_INFO,
        "group_info.bad_signature",
    ),
    (
        "with a GroupInfo without a door",
        lambda s: entry_changed(s, s.tablet.client.signer, extensions=b""),
        INVALID_GROUP_INFO,
        "group_info.missing_external_pub",
    ),
]
