"""Commits by the wrong hand, of the wrong time, with the wrong content."""

from openmls.client import CommitBundle, Signer

from bindings.tests import craft
from bindings.tests.craft import u16, u32, vector
from conversations.selectors import Asking
from conversations.services import leave_convo
from tests import forging
from tests.conversations.forgeries.scene import (
    EPOCH_MISMATCH,
    INVALID_COMMIT,
    INVALID_GROUP_INFO,
    NOT_ADMIN,
    NOT_MEMBER,
    STRANGER,
    Row,
    Scene,
    Sent,
)
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import remove, stored, update
from tests.wiring import b64

# Before its tags a commit ends with what its path encrypts.
IN_THE_PATH, IN_THE_SIGNATURE, IN_THE_CONFIRMATION_TAG = -150, -80, -50


def flipped(scene: Scene, place: int) -> Sent:
    made = scene.renewal(scene.bob)
    return scene.commits(BOB, made, commit=b64(forging.flipped(made.commit, place)))


def late(scene: Scene) -> CommitBundle:
    """Bob's commit for an epoch that Alice has ended."""
    made = scene.renewal(scene.bob)
    scene.group(scene.bob).discard()
    update(scene.talk, scene.alice)
    return made


def dated_ahead(scene: Scene) -> Sent:
    made = late(scene)
    at = 4 + 1 + len(scene.talk.id) // 2
    epoch = craft.u64(scene.talk.convo.epoch)
    return scene.commits(BOB, made, commit=b64(made.commit[:at] + epoch + made.commit[at + 8 :]))


def early(scene: Scene) -> Sent:
    scene.renewal(scene.bob)
    scene.group(scene.bob).confirm()
    return scene.commits(BOB, scene.renewal(scene.bob))


def of_somebody_removed(scene: Scene, *, by: str) -> Sent:
    leaf = scene.leaf(scene.carol)
    remove(scene.talk, scene.alice, CAROL)
    return scene.pathless(by=by, signer=scene.carol, leaf=leaf)


def of_a_leaver(scene: Scene) -> Sent:
    leave_convo(convo_id=scene.talk.id, who=Asking(CAROL), target_did=None, proposal=None)
    return scene.commits(CAROL, scene.renewal(scene.carol))


def without_the_leaver(scene: Scene) -> Sent:
    proposal = scene.group(scene.carol).propose_self_remove()
    leave_convo(convo_id=scene.talk.id, who=Asking(CAROL), target_did=None, proposal=proposal)
    return scene.commits(ALICE, scene.renewal(scene.alice))


def of_an_unseen_proposal(scene: Scene) -> Sent:
    scene.group(scene.alice).process(scene.group(scene.carol).propose_self_remove())
    return scene.commits(ALICE, scene.renewal(scene.alice))


def under_another_name(scene: Scene) -> Sent:
    made = scene.renewal(scene.bob)
    group = stored(scene.talk)
    forged = forging.with_identity(
        made.commit, scene.bob.client.signer, group, leaf=scene.leaf(scene.bob), identity=ALICE.encode()
    )
    return scene.commits(BOB, made, commit=b64(forged))


def with_a_proposal(scene: Scene, proposal: bytes) -> Sent:
    made = scene.renewal(scene.bob)
    commit = forging.with_proposal(made.commit, scene.bob.client.signer, stored(scene.talk), proposal)
    return scene.commits(BOB, made, commit=b64(commit))


def hidden(scene: Scene) -> Sent:
    """A PrivateMessage of a group of the same id."""
    group = Phone(BOB).client.create_group(bytes.fromhex(scene.talk.id), private_handshake=True)
    for _ in range(scene.talk.convo.epoch):
        group.commit(update=True)
        group.confirm()
    return scene.commits(BOB, group.commit(update=True))


def of_a_twin_group(scene: Scene) -> Sent:
    """Mallory's own group under the same id."""
    group = Phone(BOB).client.create_group(bytes.fromhex(scene.talk.id))
    for _ in range(scene.talk.convo.epoch):
        group.commit(update=True)
        group.confirm()
    return scene.commits(BOB, group.commit(update=True))


def message_in_place_of(scene: Scene, message: bytes) -> Sent:
    return scene.commits(BOB, scene.renewal(scene.bob), commit=b64(message))


COMMITS: list[Row] = [
    ("another member's", lambda s: s.commits(BOB, s.renewal(s.carol)), INVALID_COMMIT, "commit.not_your_leaf"),
    (
        "of one's other device, by the device that is named",
        lambda s: s.commits(BOB, s.renewal(s.bob), deviceId=s.laptop.device_id),
        INVALID_COMMIT,
        "commit.not_your_leaf",
    ),
    (
        "by a stranger, with a member's bytes",
        lambda s: s.commits(MALLORY, s.renewal(s.bob)),
        NOT_MEMBER,
        STRANGER,
    ),
    ("by a removed member", lambda s: of_somebody_removed(s, by=CAROL), NOT_MEMBER, STRANGER),
    (
        "of a removed member, by an accomplice",
        lambda s: of_somebody_removed(s, by=BOB),
        INVALID_COMMIT,
        "validation.unknown_member",
    ),
    ("by a leaver", of_a_leaver, NOT_MEMBER, STRANGER),
    (
        "for a leaf that signs with another key",
        lambda s: s.pathless(leaf=s.leaf(s.carol)),
        INVALID_COMMIT,
        "validation.bad_signature",
    ),
    (
        "for a leaf there is not",
        lambda s: s.pathless(leaf=9),
        INVALID_COMMIT,
        "validation.unknown_member",
    ),
    (
        "of another group",
        lambda s: s.commits(BOB, s.elsewhere(s.bob).commit(update=True)),
        INVALID_COMMIT,
        "validation.wrong_group_id",
    ),
    ("of a group of the same id", of_a_twin_group, INVALID_COMMIT, "validation.bad_signature"),
    ("for a past epoch", lambda s: s.commits(BOB, late(s)), EPOCH_MISMATCH, "The commit was made for epoch 1"),
    ("for a coming epoch", early, EPOCH_MISMATCH, "The commit was made for epoch 2"),
    ("for a past epoch, dated ahead", dated_ahead, INVALID_COMMIT, "validation.bad_signature"),
    ("with a byte of the path changed", lambda s: flipped(s, IN_THE_PATH), INVALID_COMMIT, "validation.bad_signature"),
    (
        "with a byte of the signature changed",
        lambda s: flipped(s, IN_THE_SIGNATURE),
        INVALID_COMMIT,
        "validation.bad_signature",
    ),
    (
        "with a byte of the confirmation tag changed",
        lambda s: flipped(s, IN_THE_CONFIRMATION_TAG),
        INVALID_GROUP_INFO,
        "group_info.confirmation_tag_mismatch",
    ),
    (
        "cut short",
        lambda s: message_in_place_of(s, s.renewal(s.laptop).commit[:-1]),
        INVALID_COMMIT,
        "decode.truncated",
    ),
    (
        "with something after its end",
        lambda s: message_in_place_of(s, s.renewal(s.laptop).commit + b"\0"),
        INVALID_COMMIT,
        "decode.trailing_data",
    ),
    ("hidden in a PrivateMessage", hidden, INVALID_COMMIT, "validation.private_message"),
    (
        "that is an application message",
        lambda s: message_in_place_of(s, s.group(s.bob).encrypt(b"hello")),
        INVALID_COMMIT,
        "decode.wrong_type",
    ),
    (
        "that is a proposal",
        lambda s: message_in_place_of(s, s.group(s.laptop).propose_update()),
        INVALID_COMMIT,
        "decode.wrong_type",
    ),
    ("from outside", lambda s: s.commits(BOB, s.entry(s.tablet)), INVALID_COMMIT, "policy.external_join"),
    ("that leaves a leaver in", without_the_leaver, INVALID_COMMIT, "commit.pending_removal_left_out"),
    ("of a proposal nobody published", of_an_unseen_proposal, INVALID_COMMIT, "commit.missing_proposal"),
    ("under another name", under_another_name, INVALID_COMMIT, "policy.credential_changed"),
    (
        "that ends the group for another",
        lambda s: s.pathless(u16(craft.REINIT) + craft.reinit_body()),
        INVALID_COMMIT,
        "policy.reinit",
    ),
    (
        "of a proposal type of its own",
        lambda s: s.pathless(u16(0xF0F1) + vector(b"?")),
        INVALID_COMMIT,
        "commit.unsupported_proposal_type",
    ),
    (
        "that lets somebody in from outside too",
        lambda s: with_a_proposal(s, u16(forging.EXTERNAL_INIT) + vector(bytes(32))),
        INVALID_COMMIT,
        "commit.invalid_proposal",
    ),
    (
        "without the path a removal needs",
        lambda s: s.pathless(u16(craft.REMOVE) + u32(0)),
        INVALID_COMMIT,
        "commit.missing_path",
    ),
    (
        "that removes its author",
        lambda s: with_a_proposal(s, u16(craft.REMOVE) + u32(s.leaf(s.bob))),
        INVALID_COMMIT,
        "commit.self_removal",
    ),
    (
        "that removes a leaf there is not",
        lambda s: s.pathless(u16(craft.REMOVE) + u32(9)),
        INVALID_COMMIT,
        "commit.unknown_member",
    ),
]


def both_at_once(scene: Scene) -> Sent:
    """Bob may remove his own laptop, and hides Carol's removal behind it."""
    leaves = [scene.leaf(phone) for phone in (scene.laptop, scene.carol)]
    return scene.commits(BOB, scene.group(scene.bob).commit(remove=leaves))


def removal(scene: Scene, *, by: Phone, of: Phone) -> CommitBundle:
    return scene.group(by).commit(remove=[scene.leaf(of)])


RIGHTS: list[Row] = [
    (
        "rotates to another member's key",
        lambda s: s.commits(BOB, s.renewal(s.bob, new_signer=s.carol.client.signer)),
        INVALID_COMMIT,
        "commit.duplicate_signature_key",
    ),
    (
        "rotates to a key nobody registered",
        lambda s: s.commits(BOB, s.renewal(s.bob, new_signer=Signer.generate())),
        INVALID_COMMIT,
        "commit.unknown_signature_key",
    ),
    (
        "rotates to a stranger's registered key",
        lambda s: s.commits(BOB, s.renewal(s.bob, new_signer=s.mallory.client.signer)),
        INVALID_COMMIT,
        "commit.unknown_signature_key",
    ),
    (
        "rotates to the key of one's other device",
        lambda s: s.commits(BOB, s.renewal(s.bob, new_signer=s.tablet.client.signer)),
        INVALID_COMMIT,
        "commit.unknown_signature_key",
    ),
    (
        "removes another account without the role",
        lambda s: s.commits(BOB, removal(s, by=s.bob, of=s.carol)),
        NOT_ADMIN,
        "Only an admin",
    ),
    (
        "removes the admin without the role",
        lambda s: s.commits(BOB, removal(s, by=s.bob, of=s.alice)),
        NOT_ADMIN,
        "Only an admin",
    ),
    (
        "removes another account by removeMember without the role",
        lambda s: s.removes(BOB, removal(s, by=s.bob, of=s.carol), CAROL),
        NOT_ADMIN,
        "Only an admin",
    ),
    ("hides a removal behind a permitted one", both_at_once, NOT_ADMIN, "Only an admin"),
    (
        "removes another account than removeMember names",
        lambda s: s.removes(ALICE, removal(s, by=s.alice, of=s.carol), BOB),
        INVALID_COMMIT,
        "commit.target_not_removed",
    ),
    (
        "removes a stranger",
        lambda s: s.removes(ALICE, removal(s, by=s.alice, of=s.carol), MALLORY),
        NOT_MEMBER,
        STRANGER,
    ),
    (
        "removes oneself by removeMember",
        lambda s: s.removes(ALICE, removal(s, by=s.alice, of=s.carol), ALICE),
        "400 CannotRemoveSelf",
        "Leave the conversation",
    ),
]
