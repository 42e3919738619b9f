from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from catbird_mls.trips import write
from catbird_mls.xrpc.errors import XrpcError
from catbird_mls.xrpc.meters import count_key_packages
from journal.services import note_refusal, noting_refusals
from keypackages.errors import (
    BatchTooLarge,
    DeviceNotFound,
    ExpirationTooFar,
    InvalidBatch,
    InvalidKeyPackage,
    InvalidKeyPackages,
    KeyPackageNotFound,
    TooManyHashes,
    TooManyKeyPackages,
)
from keypackages.framing import KEY_PACKAGE_MAX_LIFETIME_SECONDS, ReadKeyPackage, read_key_package
from keypackages.locks import locked_devices, locked_key_packages
from keypackages.models import Device, KeyPackage
from keypackages.selectors import available_key_packages, next_key_packages, require_device
from keypackages.services.counters import count

BATCH_MAX = 100
UNSPENT_MAX = 100
HASHES_MAX = 200
PUBLISH_KEY_PACKAGE = "blue.catbird.mls.publishKeyPackage"
PUBLISH_KEY_PACKAGES = "blue.catbird.mls.publishKeyPackages"
THING = "key package"
SPEND = """
UPDATE keypackages_keypackage SET spent_at = %s, spent_in_convo = %s, spent_by_device = %s WHERE id = ANY(%s::bigint[])
"""

# An item the wire could not read stands in the batch as its own refusal.
KeyPackageItem = Mapping[str, Any]
BatchItem = KeyPackageItem | XrpcError


@dataclass(frozen=True, slots=True)
class SpentPackage:
    """A package that has admitted a device, in plain values other apps may keep."""

    key_package_id: int
    reference: bytes
    did: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Synced:
    """What a comparison with the device's own packages came to, as KeyPackageRefs."""

    device_id: str
    kept: Sequence[bytes]
    orphaned: Sequence[bytes]


def publish_key_package(*, did: str, item: KeyPackageItem) -> None:
    """Put one package into the directory; publishing it again changes nothing."""
    with (
        noting_refusals(nsid=PUBLISH_KEY_PACKAGE, thing=THING, body=item["key_package"], did=did),
        transaction.atomic(durable=True),
    ):
        _store(_read(item), did=did, devices=locked_devices(did))


def publish_key_packages(*, did: str, items: Sequence[BatchItem]) -> dict[int, XrpcError]:
    """Put the good packages of a batch into the directory and say of each other one what is wrong with it."""
    if not items:
        raise InvalidBatch("A batch holds at least one key package.")
    if len(items) > BATCH_MAX:
        raise BatchTooLarge(f"A batch holds at most {BATCH_MAX} key packages.")
    with transaction.atomic(durable=True):
        refused = _store_each(items, did=did, devices=locked_devices(did))
    note_refused_items(items, refused, nsid=PUBLISH_KEY_PACKAGES, did=did)
    return refused


def note_refused_items(items: Sequence[BatchItem], refused: Mapping[int, XrpcError], *, nsid: str, did: str) -> None:
    """What of a batch was refused goes into the journal; what the wire could not read has no bytes."""
    for index, refusal in refused.items():
        item = items[index]
        body = b"" if isinstance(item, XrpcError) else item["key_package"]
        note_refusal(refusal, nsid=nsid, thing=THING, body=body, did=did)


def store_key_packages(*, device: Device, items: Sequence[BatchItem]) -> dict[int, XrpcError]:
    """The packages of a registration, which must belong to the device that registers."""
    if len(items) > BATCH_MAX:
        raise InvalidKeyPackages(f"A registration brings at most {BATCH_MAX} key packages.")
    return _store_each(items, did=device.did, devices=[device])


def hand_out_key_packages(*, dids: Sequence[str], cipher_suite: str | None) -> list[KeyPackage]:
    """One unspent package for every device of these accounts.

    Nothing is spent by looking; a package that was shown goes to the end of its device's line, so that two
    askers seldom meet on one.
    """
    packages = next_key_packages(dids=dids, cipher_suite=cipher_suite)
    KeyPackage.objects.filter(pk__in=[package.pk for package in packages]).update(handed_out_at=timezone.now())
    count_key_packages("handed_out", len(packages))
    return packages


def hand_out_for_device(device_id: str) -> KeyPackage:
    """One unspent package of this device, as for anybody who asks."""
    device = Device.objects.get(pk=device_id)
    for package in hand_out_key_packages(dids=[device.did], cipher_suite=None):
        if package.device_id == device_id:
            return package
    raise KeyPackageNotFound(did=device.did)


def sync_key_packages(*, did: str, handle: str, local: Collection[bytes]) -> Synced:
    """Drop what the directory has of this device and the device has no longer; nothing of any other device.

    Packages a commit has spent are kept: their Welcomes are under way.
    """
    if len(local) > HASHES_MAX:
        raise TooManyHashes(f"At most {HASHES_MAX} hashes can be compared at once.")
    with transaction.atomic(durable=True):
        locked_devices(did)
        device = require_device(did=did, handle=handle)
        unspent = list(device.key_packages.filter(spent_at__isnull=True).order_by("pk"))
        orphans = [package for package in unspent if bytes(package.reference) not in local]
        KeyPackage.objects.filter(pk__in=[package.pk for package in orphans], spent_at__isnull=True).delete()
    kept = [bytes(package.reference) for package in unspent if package not in orphans]
    return Synced(device.pk, kept, [bytes(package.reference) for package in orphans])


def spend_key_packages(*, convo_id: str, references: Sequence[bytes], by_device: str = "") -> list[SpentPackage]:
    """Use up the packages a commit's Welcome was made for, inside the transaction of that commit.

    Of two commits that want the same package exactly one gets it; the other is told which one is gone. A
    last-resort package may admit its device to any number of convos.
    """
    held = {bytes(package.reference): package for package in locked_key_packages(references)}
    for reference in references:
        _require_spendable(held.get(reference), reference)
    now = timezone.now()
    fresh = [package for package in held.values() if package.spent_at is None]
    write(SPEND, [now, convo_id, by_device, [package.pk for package in fresh]])
    count("spent", [(package.did, package.cipher_suite) for package in fresh])
    return [_spent(held[reference]) for reference in references]


def _require_spendable(package: KeyPackage | None, reference: bytes) -> None:
    if package is None:
        raise KeyPackageNotFound(did="did:unknown", reference=reference)
    spent = package.spent_at is not None and not package.last_resort
    if spent or package.expires_at <= timezone.now() or package.device.deleted_at is not None:
        raise KeyPackageNotFound(did=package.did, reference=reference)


def _spent(package: KeyPackage) -> SpentPackage:
    return SpentPackage(
        key_package_id=package.pk,
        reference=bytes(package.reference),
        did=package.did,
        device_id=package.device_id,
    )


def _store_each(items: Sequence[BatchItem], *, did: str, devices: Sequence[Device]) -> dict[int, XrpcError]:
    refused: dict[int, XrpcError] = {}
    for index, item in enumerate(items):
        try:
            _store(_read(item), did=did, devices=devices)
        except XrpcError as error:
            refused[index] = error
    return refused


def _read(item: BatchItem) -> ReadKeyPackage:
    if isinstance(item, XrpcError):
        raise item
    horizon = timezone.now() + timedelta(seconds=KEY_PACKAGE_MAX_LIFETIME_SECONDS)
    if (expires := item.get("expires")) is not None and expires > horizon:
        raise ExpirationTooFar(f"A key package lives at most {KEY_PACKAGE_MAX_LIFETIME_SECONDS // 86_400} days.")
    return read_key_package(item["key_package"], cipher_suite=item["cipher_suite"])


def _store(package: ReadKeyPackage, *, did: str, devices: Sequence[Device]) -> None:
    """Under the lock of the account's devices, so that two requests neither pass the limit nor meet on one package."""
    device = _require_owner(package, did=did, devices=devices)
    if KeyPackage.objects.filter(did=did, reference=package.reference).exists():
        return
    if available_key_packages().filter(device=device).count() >= UNSPENT_MAX:
        raise TooManyKeyPackages(f"A device has at most {UNSPENT_MAX} unspent key packages.")
    KeyPackage.objects.create(
        did=did,
        device=device,
        reference=package.reference,
        cipher_suite=package.cipher_suite,
        body=package.body,
        last_resort=package.last_resort,
        expires_at=package.expires_at,
    )
    count("published", [(did, package.cipher_suite)])


def _require_owner(package: ReadKeyPackage, *, did: str, devices: Sequence[Device]) -> Device:
    """The caller's device that signed the package; the credential must name the caller."""
    if package.did not in {did, None}:
        raise InvalidKeyPackage("key_package.wrong_credential: the credential names another account.")
    for device in devices:
        if bytes(device.signature_key) == package.signature_key:
            return device
    if not devices:
        raise DeviceNotFound("Register a device before publishing its key packages.")
    raise InvalidKeyPackage("key_package.unknown_signature_key: no registered device has this signature key.")
