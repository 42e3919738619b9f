"""Devices that wait to be added: what the directory and the roster say, and who has promised to add them.

A device of an account waits in every convo of the account that it was never in, if it was registered after
the account came in. Nothing is stored until a member claims one, so nothing can be lost.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from conversations.models import ADDITION_LEASE_SECONDS, AdditionClaim
from keypackages.selectors import REGISTERED, DeviceRef, devices_by_id

NAMESPACE = uuid.UUID("5b0f6c0e-0f9e-4b58-9d54-0d3d6f2e6c41")
# Asked whenever a stream opens, and nearly always answered with nothing.
WAITING = f"""
SELECT account.convo_id, device.id
  FROM (SELECT convo_id, did, min(joined_at) AS since FROM conversations_member
         WHERE convo_id = ANY(%s) AND left_at IS NULL AND leaving_at IS NULL GROUP BY convo_id, did) AS account
  JOIN ({REGISTERED}) AS device ON device.did = account.did AND device.registered_at > account.since
 WHERE NOT EXISTS (
       SELECT FROM conversations_member AS place
        WHERE (place.convo_id, place.did) = (account.convo_id, account.did) AND place.device_id IN (device.id, ''))
 ORDER BY account.convo_id, account.did, device.id
"""  # noqa: S608 - put together of constants


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
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [list(convo_ids)])
        waiting: list[tuple[str, str]] = cursor.fetchall()
    if not waiting:
        return []
    devices = {device.device_id: device for device in devices_by_id({device_id for _, device_id in waiting})}
    claims = _live_claims(convo_ids)
    return [
        Addition(convo_id, device, device.registered_at, claims.get((convo_id, device_id)))
        for convo_id, device_id in waiting
        if (device := devices.get(device_id)) is not None
    ]


def _live_claims(convo_ids: Sequence[str]) -> dict[tuple[str, str], str]:
    since = timezone.now() - timedelta(seconds=ADDITION_LEASE_SECONDS)
    claims = AdditionClaim.objects.filter(convo_id__in=convo_ids, claimed_at__gt=since, completed_at__isnull=True)
    return {(claim.convo_id, claim.device_id): claim.claimed_by for claim in claims}
