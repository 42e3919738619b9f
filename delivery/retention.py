"""Mailboxes whose device is out, and what was waiting in them, go when the log keeps nothing for them any more."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from delivery.models import Envelope, Mailbox

BATCH = 1000


def drop_ended_mailboxes() -> int:
    """Says how many went; twice at once is harmless."""
    before = timezone.now() - timedelta(days=settings.CATBIRD_COMMIT_KEEP_DAYS)
    ended = Mailbox.objects.filter(closed_at__lt=before).order_by("closed_at")
    rows = list(ended.values_list("pk", "convo_id", "did", "device_id", "last_seq")[:BATCH])
    for pk, convo_id, did, device_id, last_seq in rows:
        with transaction.atomic():
            # A device that came back has another mailbox, and its envelope may reach further.
            waiting = Envelope.objects.filter(convo_id=convo_id, did=did, device_id=device_id)
            waiting.filter(last_seq__lte=last_seq).delete()
            Mailbox.objects.filter(pk=pk, convo_id=convo_id).delete()
    return len(rows)
