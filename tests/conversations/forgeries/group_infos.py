"""GroupInfos beside a commit, and by themselves."""

from openmls.client import Signer

from bindings.tests import craft
from bindings.tests.craft import u16, vector
from keypackages.services import register_device
from tests import forging
from tests.conversations.forgeries.scene import (
    CLOSED_DOOR,
    EPOCH_MISMATCH,
    INVALID_COMMIT,
    INVALID_GROUP_INFO,
    UNAUTHORIZED,
    Row,
    Scene,
    Sent,
)
from tests.devices import BOB, CAROL, MALLORY, Phone
from tests.situations import remove, stored, update
from tests.wiring import b64


def changed(scene: Scene, *, by: Phone | None = None, **changes: object) -> Sent:
    """Bob's renewal, with its GroupInfo changed and signed again."""
    made = scene.renewal(scene.bob)
    info = forging.changed_group_info(made.group_info, (by or scene.bob).client.signer, **changes)
    return scene.commits(BOB, made, groupInfo=b64(info))


def instead(scene: Scene, info: bytes) -> Sent:
    return scene.commits(BOB, scene.renewal(scene.bob), groupInfo=b64(info))


def with_the_old_key(scene: Scene) -> Sent:
    """Bob rotates to his new registered key and signs the GroupInfo with the one he has given up."""
    signer, uuid = Signer.generate(), scene.bob.uuid
    register_device(did=BOB, name="phone", device_uuid=uuid, signature_key=signer.public, key_packages=[])
    made = scene.renewal(scene.bob, new_signer=signer)
    info = forging.changed_group_info(made.group_info, scene.bob.client.signer)
    return scene.commits(BOB, made, groupInfo=b64(info))


def with_the_old_tree(scene: Scene) -> Sent:
    tree = u16(forging.RATCHET_TREE) + vector(stored(scene.talk).ratchet_tree())
    return changed(scene, extensions=tree + craft.external_pub(bytes(range(32))))


GROUP_INFOS: list[Row] = [
    (
        "missing",
        lambda s: s.commits(BOB, s.renewal(s.bob), groupInfo=None),
        INVALID_COMMIT,
        "commit.missing_group_info",
    ),
    ("that is none", lambda s: instead(s, b"\0\1\0\4"), INVALID_GROUP_INFO, "decode.truncated"),
    ("that is a package", lambda s: instead(s, s.dave.packages()[0]), INVALID_GROUP_INFO, "decode.wrong_type"),
    (
        "of the epoch that ends",
        lambda s: instead(s, s.group(s.bob).group_info()),
        INVALID_GROUP_INFO,
        "group_info.context_mismatch",
    ),
    (
        "of another commit",
        lambda s: instead(s, s.renewal(s.carol).group_info),
        INVALID_GROUP_INFO,
        "group_info.context_mismatch",
    ),
    (
        "of another group",
        lambda s: instead(s, s.elsewhere(s.bob).group_info()),
        INVALID_GROUP_INFO,
        "group_info.context_mismatch",
    ),
    (
        "with another confirmation tag",
        lambda s: changed(s, confirmation_tag=bytes(32)),
        INVALID_GROUP_INFO,
        "group_info.confirmation_tag_mismatch",
    ),
    (
        "signed by another member",
        lambda s: changed(s, by=s.alice, signer_index=0),
        INVALID_GROUP_INFO,
        "group_info.signer_mismatch",
    ),
    (
        "signed by another key",
        lambda s: changed(s, by=s.mallory),
        INVALID_GROUP_INFO,
        "group_info.bad_signature",
    ),
    ("signed by the key that was given up", with_the_old_key, INVALID_GROUP_INFO, "group_info.bad_signature"),
    (
        "without a door",
        lambda s: changed(s, extensions=b""),
        INVALID_GROUP_INFO,
        "group_info.missing_external_pub",
    ),
    (
        "with half a door",
        lambda s: changed(s, extensions=craft.external_pub(b"key")),
        INVALID_GROUP_INFO,
        "group_info.malformed_external_pub",
    ),
    ("with the tree of the epoch that ends", with_the_old_tree, INVALID_GROUP_INFO, "group_info.tree_mismatch"),
]


def uploaded(scene: Scene, signer: Signer, **changes: object) -> Sent:
    return scene.uploads(BOB, forging.changed_group_info(scene.group(scene.bob).group_info(), signer, **changes))


def of_the_epoch_before(scene: Scene) -> Sent:
    info = scene.group(scene.bob).group_info()
    update(scene.talk, scene.alice)
    return scene.uploads(BOB, info)


def of_an_epoch_nobody_saw(scene: Scene) -> Sent:
    scene.renewal(scene.bob)
    scene.group(scene.bob).confirm()
    return scene.uploads(BOB, scene.group(scene.bob).group_info())


def of_somebody_who_was_removed(scene: Scene) -> Sent:
    info = scene.group(scene.carol).group_info()
    remove(scene.talk, scene.alice, CAROL)
    return scene.uploads(CAROL, info)


UPLOADS: list[Row] = [
    ("by a stranger", lambda s: s.uploads(MALLORY, s.group(s.bob).group_info()), UNAUTHORIZED, CLOSED_DOOR),
    ("by a removed member", of_somebody_who_was_removed, UNAUTHORIZED, CLOSED_DOOR),
    (
        "of another epoch than the convo's",
        lambda s: s.uploads(BOB, s.group(s.bob).group_info(), epoch=0),
        EPOCH_MISMATCH,
        "The conversation is at epoch 1",
    ),
    (
        "of the epoch before, under the current one's number",
        of_the_epoch_before,
        INVALID_GROUP_INFO,
        "group_info.tree_hash",
    ),
    ("of an epoch nobody saw", of_an_epoch_nobody_saw, INVALID_GROUP_INFO, "group_info.tree_hash_mismatch"),
    (
        "of another group",
        lambda s: s.uploads(BOB, s.elsewhere(s.bob).group_info()),
        INVALID_GROUP_INFO,
        "group_info.bad_signature",
    ),
    ("that is none", lambda s: s.uploads(BOB, b"\0\1\0\4"), INVALID_GROUP_INFO, "decode.truncated"),
    (
        "signed by another member",
        lambda s: s.uploads(BOB, s.group(s.carol).group_info()),
        INVALID_GROUP_INFO,
        "group_info.signer_mismatch",
    ),
    (
        "signed by another device than the request names",
        lambda s: s.uploads(BOB, s.group(s.bob).group_info(), deviceId=s.laptop.device_id),
        INVALID_GROUP_INFO,
        "group_info.signer_mismatch",
    ),
    (
        "signed by another key",
        lambda s: uploaded(s, s.mallory.client.signer),
        INVALID_GROUP_INFO,
        "group_info.bad_signature",
    ),
    (
        "with another confirmation tag",
        lambda s: uploaded(s, s.bob.client.signer, confirmation_tag=bytes(32)),
        INVALID_GROUP_INFO,
        "group_info.context_mismatch",
    ),
    (
        "without a door",
        lambda s: uploaded(s, s.bob.client.signer, extensions=b""),
        INVALID_GROUP_INFO,
        "group_info.missing_external_pub",
    ),
]
