"""Packages that do not admit, and Welcomes that do not fit."""

from datetime import timedelta

from django.utils import timezone
from openmls.client import Signer

from bindings.tests import craft
from bindings.tests.craft import u16
from conversations.selectors import Asking
from conversations.services import add_members, delete_device
from keypackages.models import KeyPackage
from tests.conversations.forgeries.scene import (
    DAVE,
    INVALID_COMMIT,
    INVALID_WELCOME,
    PACKAGE_NOT_FOUND,
    Row,
    Scene,
    Sent,
)
from tests.devices import BOB, MALLORY, Phone
from tests.situations import a_convo, bundle_of, packages_of, stored
from tests.wiring import b64

NO_PACKAGE = "No unspent key package"


def of_a_spent_package(scene: Scene) -> Sent:
    packages = packages_of(scene.dave)
    made = scene.group(scene.bob).commit(add=packages)
    other = a_convo(scene.mallory)
    faster = bundle_of(scene.mallory.group(other.id).commit(add=packages))
    add_members(convo_id=other.id, who=Asking(MALLORY), dids=[DAVE], bundle=faster, key=None)
    return scene.commits(BOB, made, DAVE)


def of_an_ended_package(scene: Scene) -> Sent:
    made = scene.addition(scene.dave)
    KeyPackage.objects.filter(did=DAVE).update(expires_at=timezone.now() - timedelta(seconds=1))
    return scene.commits(BOB, made, DAVE)


def of_a_deleted_device(scene: Scene) -> Sent:
    made = scene.addition(scene.dave)
    delete_device(did=DAVE, handle=scene.dave.device_id)
    return scene.commits(BOB, made, DAVE)


def handmade(scene: Scene, signer: Signer | None = None, **package: object) -> Sent:
    """Bob adds a package he wrote by hand under Dave's name."""
    crafted = craft.key_package(signer or Signer.generate(), DAVE.encode(), **package)  # type: ignore[arg-type]
    return scene.pathless(u16(craft.ADD) + crafted)


def welcoming(scene: Scene, *phones: Phone, instead: Phone | None = None) -> Sent:
    """Bob adds Dave, with the Welcome of a commit that adds these."""
    group = scene.group(scene.bob)
    other = group.commit(add=packages_of(*phones))
    group.discard()
    made = group.commit(add=packages_of(scene.dave)) if instead is None else scene.renewal(instead)
    return scene.commits(BOB, made, welcomeMessage=b64(other.welcome or b""))


def with_two_welcomes(scene: Scene) -> Sent:
    made = scene.addition(scene.dave)
    return scene.commits(BOB, made, DAVE, welcomeMessages=[b64(made.welcome or b"")])


def of_an_unpublished_package(scene: Scene, phone: Phone) -> Sent:
    return scene.commits(BOB, scene.group(scene.bob).commit(add=phone.packages()), DAVE)


PACKAGES: list[Row] = [
    (
        "never published",
        lambda s: of_an_unpublished_package(s, s.dave),
        PACKAGE_NOT_FOUND,
        NO_PACKAGE,
    ),
    (
        "in another's name",
        lambda s: of_an_unpublished_package(s, Phone(DAVE)),
        PACKAGE_NOT_FOUND,
        NO_PACKAGE,
    ),
    ("spent elsewhere", of_a_spent_package, PACKAGE_NOT_FOUND, NO_PACKAGE),
    ("ended since", of_an_ended_package, PACKAGE_NOT_FOUND, NO_PACKAGE),
    ("of a device that is no more", of_a_deleted_device, PACKAGE_NOT_FOUND, NO_PACKAGE),
    (
        "ended before",
        lambda s: handmade(s, lifetime=(0, 10)),
        INVALID_COMMIT,
        "key_package.expired",
    ),
    (
        "endless",
        lambda s: handmade(s, lifetime=(0, 2**63)),
        INVALID_COMMIT,
        "key_package.lifetime_too_long",
    ),
    (
        "with a member's signature key",
        lambda s: handmade(s, s.carol.client.signer),
        INVALID_COMMIT,
        "commit.duplicate_signature_key",
    ),
    (
        "with a member's encryption key",
        lambda s: handmade(s, encryption_key=stored(s.talk).members()[s.leaf(s.carol)].encryption_key),
        INVALID_COMMIT,
        "commit.duplicate_encryption_key",
    ),
    (
        "of another account than named",
        lambda s: s.commits(BOB, s.addition(s.dave), MALLORY),
        INVALID_COMMIT,
        "commit.other_members_added",
    ),
    (
        "of one account more than named",
        lambda s: s.commits(BOB, s.addition(s.dave, s.mallory), DAVE),
        INVALID_COMMIT,
        "commit.other_members_added",
    ),
    (
        "Welcome missing",
        lambda s: s.commits(BOB, s.addition(s.dave), DAVE, welcomeMessage=None),
        INVALID_WELCOME,
        "welcome.missing",
    ),
    (
        "Welcome for nobody",
        lambda s: welcoming(s, s.dave, instead=s.bob),
        INVALID_WELCOME,
        "welcome.unexpected",
    ),
    (
        "Welcome for somebody else's package",
        lambda s: welcoming(s, s.mallory),
        INVALID_WELCOME,
        "welcome.unexpected",
    ),
    (
        "Welcome for somebody more",
        lambda s: welcoming(s, s.dave, s.mallory),
        INVALID_WELCOME,
        "welcome.unexpected",
    ),
    ("Welcome twice", with_two_welcomes, INVALID_WELCOME, "welcome.duplicate_reference"),
    (
        "Welcome that is none",
        lambda s: s.commits(BOB, s.addition(s.dave), DAVE, welcomeMessage=b64(b"\0\1\0\3")),
        INVALID_WELCOME,
        "decode.truncated",
    ),
    (
        "Welcome for other packages than claimed",
        lambda s: s.commits(BOB, s.addition(s.dave), DAVE, keyPackageHashes=[{"did": DAVE, "hash": "00" * 32}]),
        INVALID_WELCOME,
        "welcome.claims_mismatch",
    ),
]
