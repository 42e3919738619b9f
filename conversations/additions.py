"""Devices that wait to be added: what the directory and the roster say, and who has promised to add them.

A device of an account waits in every convo of the account that it was never in, if it was registered after
the account came in. Nothing is stored until a member claims one, so nothing can be lost.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from conversations.models import ADDITION_LEASE_SECONDS, AdditionClaim, Member
from keypackages.selectors import DeviceRef, devices_of_accounts

NAMESPACE = uuid.UUID("5b0f6c0e-0f9e-4b58-9d54-0d3d6f2e6c41")


@dataclass(frozen=True, slots=True)
class Addition:
    """A device that waits to be added to a convo."""

    convo_id: str
    device: DeviceRef
    since: datetime
    claimed_by: str | None

    @property
    def id(self) -> str:
        """The same for everybody who works it out."""
        return addition_id(self.convo_id, self.device.device_id)


def addition_id(convo_id: str, device_id: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{convo_id} {device_id}"))


def pending_additions(convo_ids: Sequence[str]) -> list[Addition]:
    """Every device that waits in these convos; three queries however many there are."""
    places = list(Member.objects.filter(convo_id__in=convo_ids))
    claims = _live_claims(convo_ids)
    devices = devices_of_accounts({place.did for place in places if _active(place)})
    return [
        Addition(convo_id, device, device.registered_at, claims.get((convo_id, device.device_id)))
        for convo_id in sorted({place.convo_id for place in places})
        for device in devices
        if _waits(device, [place for place in places if place.convo_id == convo_id and place.did == device.did])
    ]


def _waits(device: DeviceRef, places: Sequence[Member]) -> bool:
    active = [place for place in places if _active(place)]
    if not active or any(place.device_id in {device.device_id, ""} for place in places):
        return False
    return device.registered_at > min(place.joined_at for place in active)


def _active(place: Member) -> bool:
    return place.left_at is None and place.leaving_at is None


def _live_claims(convo_ids: Sequence[str]) -> dict[tuple[str, str], str]:
    since = timezone.now() - timedelta(seconds=ADDITION_LEASE_SECONDS)
    claims = AdditionClaim.objects.filter(convo_id__in=convo_ids, claimed_at__gt=since, completed_at__isnull=True)
    return {(claim.convo_id, claim.device_id): claim.claimed_by for claim in claims}
