"""How far a device has got, and how far its account has read: numbers that only grow."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F, Max
from django.db.models.functions import Greatest, Least, Now
from django.utils import timezone

from catbird_mls.xrpc.errors import InvalidCursor, NotMember
from delivery.models import Envelope, Mailbox
from delivery.selectors import mailboxes_of

# A fan-out that is under way holds these rows: waiting for it, its envelope is found and shrunk below. One
# that comes later reads the mailbox as it is by then.
WAIT_FOR_FAN_OUT = "SELECT 1 FROM delivery_dispatch WHERE convo_id = %s AND seq <= %s FOR SHARE"


@dataclass(frozen=True, slots=True)
class ReadMark:
    """When an account read what it last said it has, and whether saying so was news."""

    read_at: datetime
    moved: bool


def acknowledge(*, convo_id: str, did: str, device_id: str | None, seq: int, end: int) -> None:
    """The device has everything up to ``seq``; ``end`` is where the log ends.

    It is owed only what comes after. Said again, or an earlier place said later, it changes nothing.
    """
    with transaction.atomic():
        mine = mailboxes_of(convo_id=convo_id, did=did, device_id=device_id)
        ends = list(mine.values_list("last_seq", flat=True))
        if not ends:
            raise NotMember
        if seq > max(end if last is None else last for last in ends):
            raise InvalidCursor
        with connection.cursor() as cursor:
            cursor.execute(WAIT_FOR_FAN_OUT, [convo_id, seq])
        mine.filter(acked_seq__lt=seq).update(acked_seq=Greatest("acked_seq", Least(seq, F("last_seq"))))
        waiting = Envelope.objects.filter(convo_id=convo_id, did=did)
        if device_id is not None:
            waiting = waiting.filter(device_id__in=[device_id, ""])
        waiting.filter(last_seq__lte=seq).delete()
        waiting.filter(first_seq__lte=seq).update(first_seq=seq + 1)


def mark_read(*, convo_id: str, did: str, seq: int) -> ReadMark:
    """The account has read up to ``seq``, on whichever device. An earlier place changes nothing."""
    mine = Mailbox.objects.filter(convo_id=convo_id, did=did)
    moved = bool(mine.filter(closed_at__isnull=True, read_seq__lt=seq).update(read_seq=seq, read_at=Now()))
    read_at = mine.aggregate(newest=Max("read_at"))["newest"]
    # Of an empty log nothing has ever been read.
    return ReadMark(read_at or timezone.now(), moved)
