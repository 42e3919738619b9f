"""Proposals that are no leave."""

from bindings.tests import craft
from bindings.tests.craft import u32, vector
from tests.conversations.forgeries.scene import (
    EPOCH_MISMATCH,
    INVALID_COMMIT,
    NOT_MEMBER,
    STRANGER,
    Row,
    Scene,
    Sent,
)
from tests.devices import BOB, CAROL, MALLORY, Phone
from tests.situations import packages_of, stored, update


def framed(scene: Scene, kind: int, body: bytes, *, of: Phone | None = None) -> bytes:
    """A proposal that Bob has written by hand, in his own name or another's."""
    leaf = scene.leaf(of or scene.bob)
    return craft.proposal(stored(scene.talk), scene.bob.client.signer, kind, body, leaf=leaf)


def a_past_leave(scene: Scene) -> Sent:
    proposal = scene.group(scene.bob).propose_self_remove()
    scene.group(scene.bob).clear_proposals()
    update(scene.talk, scene.alice)
    return scene.leaves(BOB, proposal)


LEAVES: list[Row] = [
    (
        "that removes somebody else",
        lambda s: s.leaves(BOB, s.group(s.bob).propose_remove(s.leaf(s.carol))),
        INVALID_COMMIT,
        "proposal.not_a_leave",
    ),
    (
        "that removes one's other device, which stays",
        lambda s: s.leaves(BOB, s.group(s.bob).propose_remove(s.leaf(s.laptop)), deviceId=s.bob.device_id),
        INVALID_COMMIT,
        "proposal.not_a_leave",
    ),
    (
        "of somebody else",
        lambda s: s.leaves(BOB, s.group(s.carol).propose_self_remove()),
        INVALID_COMMIT,
        "proposal.not_a_leave",
    ),
    (
        "asked for by somebody else",
        lambda s: s.leaves(BOB, s.group(s.carol).propose_remove(s.leaf(s.bob))),
        INVALID_COMMIT,
        "proposal.not_a_leave",
    ),
    (
        "in another's name",
        lambda s: s.leaves(CAROL, framed(s, craft.SELF_REMOVE, b"", of=s.carol)),
        INVALID_COMMIT,
        "validation.bad_signature",
    ),
    (
        "of a leaf there is not",
        lambda s: s.leaves(BOB, framed(s, craft.REMOVE, u32(9))),
        INVALID_COMMIT,
        "proposal.unknown_member",
    ),
    (
        "that is an Update",
        lambda s: s.leaves(BOB, s.group(s.bob).propose_update()),
        INVALID_COMMIT,
        "proposal.not_a_leave",
    ),
    (
        "that is an Add",
        lambda s: s.leaves(BOB, s.group(s.bob).propose_add(packages_of(s.dave)[0])),
        INVALID_COMMIT,
        "proposal.not_a_leave",
    ),
    (
        "that ends the group for another",
        lambda s: s.leaves(BOB, framed(s, craft.REINIT, craft.reinit_body())),
        INVALID_COMMIT,
        "policy.reinit",
    ),
    (
        "of a type of its own",
        lambda s: s.leaves(BOB, framed(s, 0xF0F1, vector(b"?"))),
        INVALID_COMMIT,
        "policy.custom_proposal",
    ),
    ("of a past epoch", a_past_leave, EPOCH_MISMATCH, "The message was made for epoch 1"),
    (
        "of another group",
        lambda s: s.leaves(BOB, s.elsewhere(s.bob).propose_leave()),
        INVALID_COMMIT,
        "validation.wrong_group_id",
    ),
    (
        "that is a commit",
        lambda s: s.leaves(BOB, s.renewal(s.bob).commit),
        INVALID_COMMIT,
        "decode.wrong_type",
    ),
    (
        "that is an application message",
        lambda s: s.leaves(BOB, s.group(s.bob).encrypt(b"bye")),
        INVALID_COMMIT,
        "validation.private_message",
    ),
    (
        "for somebody else",
        lambda s: s.leaves(BOB, s.group(s.bob).propose_self_remove(), targetDid=CAROL),
        "403 Forbidden",
        "Nobody can leave",
    ),
    (
        "by a stranger",
        lambda s: s.leaves(MALLORY, s.group(s.bob).propose_self_remove()),
        NOT_MEMBER,
        STRANGER,
    ),
]
