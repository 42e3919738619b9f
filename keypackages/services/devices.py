from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils import timezone

from catbird_mls.xrpc.errors import XrpcError
from keypackages.errors import (
    DeviceAlreadyRegistered,
    InvalidDeviceName,
    InvalidKeyPackages,
    InvalidSignatureKey,
    TooManyDevices,
)
from keypackages.locks import locked_devices
from keypackages.models import UNSETTLED_STATES, Device, State, Welcome
from keypackages.selectors import available_key_packages, require_device
from keypackages.services.packages import BatchItem, note_refused_items, store_key_packages

REGISTER_DEVICE = "blue.catbird.mls.registerDevice"
DEVICES_MAX = 10
DEVICE_NAME_MAX_LENGTH = 100
# Ed25519 keys have 32 bytes, uncompressed points on P-256 to P-521 have 65 to 133.
SIGNATURE_KEY_LENGTHS = frozenset({32, 57, 65, 97, 133})


@dataclass(frozen=True, slots=True)
class DeletedDevice:
    device_id: str
    key_packages_deleted: int


def register_device(
    *, did: str, name: str, device_uuid: str, signature_key: bytes, key_packages: Sequence[BatchItem]
) -> Device:
    """Make a device known, or renew the one with this UUID or signature key, which keeps its id and its packages.

    All packages that come with it are good or nothing is registered.
    """
    if not 1 <= len(name) <= DEVICE_NAME_MAX_LENGTH:
        raise InvalidDeviceName(f"A device name has 1 to {DEVICE_NAME_MAX_LENGTH} characters.")
    if len(signature_key) not in SIGNATURE_KEY_LENGTHS:
        raise InvalidSignatureKey("Not the length of a signature public key.")
    refused: dict[int, XrpcError] = {}
    try:
        with transaction.atomic(durable=True):
            device = _upsert_device(did, name, device_uuid, signature_key)
            device.refresh_from_db()
            refused = store_key_packages(device=device, items=key_packages)
            _require_all_good(refused)
    finally:
        note_refused_items(key_packages, refused, nsid=REGISTER_DEVICE, did=did)
    return device


def _require_all_good(refused: Mapping[int, XrpcError]) -> None:
    for index, error in refused.items():
        raise InvalidKeyPackages(f"Package {index}: {error}")


def delete_device(*, did: str, handle: str) -> DeletedDevice:
    """Forget a device: its unspent packages are dropped, and no Welcome waits for it any longer."""
    with transaction.atomic(durable=True):
        _devices_under_lock(did)
        device = require_device(did=did, handle=handle)
        device.deleted_at = timezone.now()
        device.save(update_fields=["deleted_at"])
        Welcome.objects.filter(did=did, device_id=device.pk, state__in=UNSETTLED_STATES).update(
            state=State.SUPERSEDED, ended_at=device.deleted_at, reason="device deleted"
        )
        dropped, _ = device.key_packages.filter(spent_at__isnull=True).delete()
    return DeletedDevice(device_id=device.pk, key_packages_deleted=dropped)


def _upsert_device(did: str, name: str, device_uuid: str, signature_key: bytes) -> Device:
    devices = _devices_under_lock(did)
    known = _same_device(devices, device_uuid, signature_key)
    if known is None:
        if len(devices) >= DEVICES_MAX:
            raise TooManyDevices(f"An account has at most {DEVICES_MAX} devices.")
        return Device.objects.create(did=did, name=name, device_uuid=device_uuid, signature_key=signature_key)
    if bytes(known.signature_key) != signature_key:
        # Packages of the old key admit a leaf this device can no longer sign for; those in flight stay.
        available_key_packages().filter(device=known).delete()
    known.name, known.signature_key, known.last_seen_at = name, signature_key, timezone.now()
    known.device_uuid = device_uuid or known.device_uuid
    known.save(update_fields=["name", "signature_key", "last_seen_at", "device_uuid"])
    return known


def _same_device(devices: Sequence[Device], device_uuid: str, signature_key: bytes) -> Device | None:
    by_uuid = next((row for row in devices if device_uuid and row.device_uuid == device_uuid), None)
    by_key = next((row for row in devices if bytes(row.signature_key) == signature_key), None)
    if by_uuid and by_key and by_uuid.pk != by_key.pk:
        raise DeviceAlreadyRegistered("Another of your devices is registered with this signature key.")
    if by_key and device_uuid and by_key.device_uuid and by_uuid is None:
        raise DeviceAlreadyRegistered("Another of your devices is registered with this signature key.")
    return by_uuid or by_key


def _devices_under_lock(did: str) -> list[Device]:
    # Rows cannot be locked before they exist: the advisory lock makes first registrations count one another.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [f"devices of {did}"])
    return locked_devices(did)
