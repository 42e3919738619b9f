"""Why something was refused, for staff to read; a row of its own, because the refusal leaves no other trace."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from catbird_mls.xrpc.errors import RateLimitExceeded, XrpcError
from journal.models import Refusal

CONVO_ID_MAX_LENGTH = 128
MESSAGE_MAX_LENGTH = 500
BATCH = 1000


def note_refusal(
    refusal: XrpcError,
    *,
    nsid: str,
    thing: str,
    body: bytes,
    did: str,
    device_id: str = "",
    convo_id: str = "",
    epoch: int | None = None,
) -> None:
    """Keep who was refused what, and why. Call it when the transaction of the refused request is over."""
    if isinstance(refusal, RateLimitExceeded):
        # Refused before anybody looked at it, and a flood must not fill the journal.
        return
    Refusal.objects.create(
        nsid=nsid,
        thing=thing,
        code=refusal.code,
        message=refusal.message[:MESSAGE_MAX_LENGTH],
        did=did,
        device_id=device_id,
        convo_id=convo_id[:CONVO_ID_MAX_LENGTH],
        epoch=epoch,
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
    )


@contextmanager
def noting_refusals(*, nsid: str, thing: str, body: bytes, did: str, device_id: str = "") -> Iterator[None]:
    """Whatever is refused inside is noted, and refused all the same."""
    try:
        yield
    except XrpcError as refusal:
        note_refusal(refusal, nsid=nsid, thing=thing, body=body, did=did, device_id=device_id)
        raise


def purge() -> int:
    """Refusals older than the directory keeps things go, some at a time."""
    old = timezone.now() - timedelta(days=settings.CATBIRD_DIRECTORY_KEEP_DAYS)
    ids = Refusal.objects.filter(made_at__lt=old).order_by("pk").values("pk")[:BATCH]
    dropped, _ = Refusal.objects.filter(pk__in=ids).delete()
    return dropped
