from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from catbird_mls.compiled import compiled
from catbird_mls.xrpc.errors import Forbidden
from keypackages.errors import (
    DeviceNotFound,
    KeyPackageAlreadyConsumed,
    KeyPackageNotFound,
    RecipientMismatch,
    TooManyDids,
)
from keypackages.framing import welcome_references
from keypackages.models import Device, KeyPackage, OptIn, Welcome

HANDED_OUT_DIDS_MAX = 100
CONTACT_STEP = timedelta(minutes=1)
REGISTERED = "SELECT id, did, registered_at FROM keypackages_device WHERE deleted_at IS NULL"
DEVICE_NAME = "SELECT name FROM keypackages_device WHERE id = {device_id}"


@dataclass(frozen=True, slots=True)
class DeviceRef:
    """Which device, in plain values other apps may keep."""

    did: str
    device_id: str
    name: str
    mls_did: str
    signature_key: bytes
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class KeyPackageRef:
    """A package that is handed out, in plain values other apps may keep."""

    did: str
    body: bytes
    reference: bytes
    cipher_suite: str


def key_package_ref(package: KeyPackage) -> KeyPackageRef:
    return KeyPackageRef(package.did, bytes(package.body), bytes(package.reference), package.cipher_suite)


def registered_devices(did: str) -> QuerySet[Device]:
    return Device.objects.filter(did=did, deleted_at__isnull=True).order_by("registered_at", "pk")


def require_device(*, did: str, handle: str) -> Device:
    """The caller's registered device by id, by UUID, or by the ``did#uuid`` form of either."""
    name = handle.rpartition("#")[2]
    device = registered_devices(did).filter(Q(pk=name) | Q(device_uuid=name) & ~Q(device_uuid="")).first()
    if device is None:
        raise DeviceNotFound("You have no such device.")
    return device


def device_handle(*, did: str, handle: str) -> str | None:
    """The id behind a handle of the caller's, or None when there is no such device.

    Whoever asks has been heard of: the device's last contact is noted, at most once a minute.
    """
    try:
        device = require_device(did=did, handle=handle)
    except DeviceNotFound:
        return None
    now = timezone.now()
    if now - device.last_seen_at > CONTACT_STEP:
        Device.objects.filter(pk=device.pk, last_seen_at__lt=now - CONTACT_STEP).update(last_seen_at=now)
    return device.pk


def devices_of_keys(keys: Iterable[bytes]) -> dict[tuple[str, bytes], DeviceRef]:
    """Registered devices by account and signature key: who stands behind a leaf."""
    wanted = list(keys)
    found = _devices_of_keys(wanted) if wanted else []
    return {(device.did, bytes(device.signature_key)): device_ref(device) for device in found}


@compiled
def _devices_of_keys(keys: Sequence[bytes]) -> QuerySet[Device]:
    return Device.objects.filter(signature_key__any=keys, deleted_at__isnull=True)


def devices_by_id(device_ids: Iterable[str]) -> list[DeviceRef]:
    return [device_ref(device) for device in Device.objects.filter(pk__in=list(device_ids))]


def devices_with_counts(did: str) -> list[tuple[Device, int]]:
    """The account's devices, each with how many packages can still be handed out for it."""
    unspent = Count("key_packages", filter=Q(key_packages__spent_at__isnull=True, key_packages__expires_at__gt=Now()))
    return [(device, device.unspent) for device in registered_devices(did).annotate(unspent=unspent)]


def require_own_stats(*, caller_did: str, did: str | None) -> str:
    """How many packages an account has is its own business."""
    if did not in {None, caller_did}:
        raise Forbidden("Only the statistics of your own account can be asked for.")
    return caller_did


def available_key_packages() -> QuerySet[KeyPackage]:
    return KeyPackage.objects.filter(spent_at__isnull=True, expires_at__gt=Now(), device__deleted_at__isnull=True)


def next_key_packages(*, dids: Sequence[str], cipher_suite: str | None) -> list[KeyPackage]:
    """One package a device of every account: the one handed out longest ago, a last resort only for want of others."""
    if len(set(dids)) > HANDED_OUT_DIDS_MAX:
        raise TooManyDids(f"At most {HANDED_OUT_DIDS_MAX} accounts can be asked for at once.")
    packages = available_key_packages().filter(did__in=set(dids)).exclude(did__in=_opted_out())
    if cipher_suite:
        packages = packages.filter(cipher_suite=cipher_suite)
    turn = ("device_id", "last_resort", F("handed_out_at").asc(nulls_first=True), "pk")
    return list(packages.order_by(*turn).distinct("device_id"))


def opt_ins(dids: Iterable[str]) -> dict[str, OptIn]:
    return {choice.did: choice for choice in OptIn.objects.filter(did__in=list(dids))}


def usable_package_of_welcome(*, did: str, welcome: bytes) -> KeyPackage:
    """The caller's package that a Welcome was made for, if it has not been used to join yet."""
    references = welcome_references(welcome)
    packages = list(KeyPackage.objects.filter(reference__in=references))
    if not packages:
        raise KeyPackageNotFound(did=did, reference=references[0] if references else None)
    mine = [package for package in packages if package.did == did]
    if not mine:
        raise RecipientMismatch("The Welcome was made for another account.")
    if mine[0].consumed_at is not None:
        raise KeyPackageAlreadyConsumed("The key package of this Welcome has been used.")
    return mine[0]


def _opted_out() -> Any:
    return OptIn.objects.filter(opted_in=False).values("did")


def welcomes_on_file(*, convo_id: str, references: Iterable[bytes]) -> bool:
    """Whether Welcomes for exactly these packages are already on file in this convo."""
    wanted = set(references)
    held = Welcome.objects.filter(convo_id=convo_id, key_package__reference__in=wanted).values_list(
        "key_package__reference", flat=True
    )
    return {bytes(reference) for reference in held} >= wanted


def welcome_state_of(*, convo_id: str, did: str, device_id: str | None) -> str | None:
    """The newest Welcome's state, whatever became of it; None when there never was one."""
    mine = Welcome.objects.filter(convo_id=convo_id, did=did)
    if device_id is not None:
        mine = mine.filter(device_id__in=[device_id, ""])
    return mine.order_by("-pk").values_list("state", flat=True).first()


def device_ref(device: Device) -> DeviceRef:
    return DeviceRef(
        did=device.did,
        device_id=device.pk,
        name=device.name,
        mls_did=device.mls_did,
        signature_key=bytes(device.signature_key),
        registered_at=device.registered_at,
    )
