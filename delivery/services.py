"""All that conversations may call: plain values in, nothing but rows and hints out."""

from django.db import transaction
from django.utils import timezone

from delivery import hub
from delivery.hub import Hint
from delivery.models import Dispatch, Mailbox
from delivery.tasks import fan_out


def open_mailbox(*, convo_id: str, did: str, device_id: str, first_seq: int) -> None:
    """From ``first_seq`` on the device may read the log. Part of the transaction that makes it a member."""
    assert transaction.get_connection().in_atomic_block
    Mailbox.objects.create(convo_id=convo_id, did=did, device_id=device_id, first_seq=first_seq)
    # Streams over all convos of the account are to follow this one too.
    transaction.on_commit(lambda: hub.ring(did, 0), robust=True)


def close_mailbox(*, convo_id: str, did: str, device_id: str, last_seq: int) -> None:
    """Up to ``last_seq`` the device may read, and no further. Closing a closed one changes nothing."""
    assert transaction.get_connection().in_atomic_block
    Mailbox.objects.filter(convo_id=convo_id, did=did, device_id=device_id, closed_at__isnull=True).update(
        last_seq=last_seq, closed_at=timezone.now()
    )


def schedule_delivery(*, convo_id: str, seq: int) -> None:
    """Make sure that an entry is carried to every open mailbox, whatever dies after the commit.

    The row is the guarantee; the nudge and the bell only make it quick, so neither may fail the request.
    """
    assert transaction.get_connection().in_atomic_block
    Dispatch.objects.create(convo_id=convo_id, seq=seq)
    # Named functions rather than partials: Django's report of a failing callback needs a __qualname__.
    transaction.on_commit(lambda: fan_out.delay(convo_id), robust=True)
    transaction.on_commit(lambda: hub.ring(convo_id, seq), robust=True)


def ring_again(convo_id: str) -> None:
    """Look once more whether everything of a convo is carried, and wake whoever is connected."""
    transaction.on_commit(lambda: fan_out.delay(convo_id), robust=True)
    transaction.on_commit(lambda: hub.ring(convo_id, 0), robust=True)


def carry_hint(hint: Hint) -> None:
    """Tell whoever is connected, once the transaction has ended well."""
    transaction.on_commit(lambda: hub.announce(hint), robust=True)
