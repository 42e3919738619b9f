"""Row locks of delivery beside the fan-out's own. In the whole code base mailboxes and envelopes come before nudges."""

from django.db import transaction
from django.db.models.functions import Now

from delivery.models import Nudge


def some_due_nudges(limit: int) -> list[Nudge]:
    """Up to so many nudges whose time has come, the longest due first; those another worker holds are skipped."""
    assert transaction.get_connection().in_atomic_block
    due = Nudge.objects.select_for_update(skip_locked=True, no_key=True).filter(due_at__lte=Now())
    return list(due.order_by("due_at")[:limit])
