from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import F, Min, Q, QuerySet
from django.db.models.functions import Greatest

from delivery.models import Mailbox


@dataclass(frozen=True, slots=True)
class Span:
    """What a device may read of one convo: ``first_seq`` to ``last_seq``, or onwards while that is None."""

    convo_id: str
    first_seq: int
    last_seq: int | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: a device or a whole account, in one convo or in all of theirs."""

    did: str
    device_id: str | None = None
    convo_id: str | None = None


Row = tuple[str, str, str, int, int | None]

# The same as ``readable_spans`` in one convo, to be part of a statement: with ``convo_id``, ``did`` and ``device_id``.
OWED = """
SELECT first_seq, last_seq FROM delivery_mailbox
 WHERE convo_id = %(convo_id)s AND did = %(did)s AND (%(device_id)s::text IS NULL OR device_id IN (%(device_id)s, ''))
   AND (last_seq IS NULL OR (acked_seq < last_seq AND first_seq <= last_seq))
"""


# How far an account has read in a convo; what came before its time counts as read.
READ_UP_TO = """
SELECT GREATEST(max(read_seq), min(first_seq) - 1) FROM delivery_mailbox
 WHERE did = %(did)s AND convo_id = {convo_id} AND closed_at IS NULL
"""


def mailboxes_of(*, convo_id: str, did: str, device_id: str | None) -> QuerySet[Mailbox]:
    """Every mailbox of a device in a convo, or of any device of the account; ended ones too."""
    mine = Mailbox.objects.filter(convo_id=convo_id, did=did)
    return mine if device_id is None else mine.filter(device_id__in=[device_id, ""])


def readable_spans(*, did: str, device_id: str | None, convo_id: str | None = None) -> list[Span]:
    """The spans of the log that are still owed to a device (or to any device of an account), oldest first.

    A span that has ended stays readable until it is acknowledged: what was accepted while a device was a
    member reaches it even after its removal.
    """
    reader = Reader(did, device_id, convo_id)
    return spans_of([reader])[reader]


def spans_of(readers: Iterable[Reader]) -> dict[Reader, list[Span]]:
    """The same for many at once: two questions however many they are."""
    wanted = set(readers)
    in_one = {reader for reader in wanted if reader.convo_id is not None}
    found: dict[tuple[str, str | None], list[Row]] = {}
    for some, narrow in ((in_one, True), (wanted - in_one, False)):
        for row in _rows(some, narrow=narrow) if some else ():
            found.setdefault((row[0], row[2] if narrow else None), []).append(row)
    return {reader: _spans(reader, found.get((reader.did, reader.convo_id), [])) for reader in wanted}


def _rows(readers: Iterable[Reader], *, narrow: bool) -> Sequence[Row]:
    owed = Q(last_seq__isnull=True) | Q(acked_seq__lt=F("last_seq"), first_seq__lte=F("last_seq"))
    mine = Mailbox.objects.filter(owed, did__in={reader.did for reader in readers})
    if narrow:
        mine = mine.filter(convo_id__in={reader.convo_id for reader in readers})
    ordered = mine.order_by("convo_id", "first_seq")
    return list(ordered.values_list("did", "device_id", "convo_id", "first_seq", "last_seq"))


def _spans(reader: Reader, rows: Sequence[Row]) -> list[Span]:
    devices = {reader.device_id, ""}
    mine = [row for row in rows if reader.device_id is None or row[1] in devices]
    return merged_spans([Span(convo_id, first, last) for _, _, convo_id, first, last in mine])


def acknowledged_by_all(convo_id: str) -> int | None:
    """The last entry of a convo that every device has which is owed it; None when nobody is owed anything."""
    owed = Mailbox.objects.filter(convo_id=convo_id).filter(
        Q(last_seq__isnull=True) | Q(acked_seq__lt=F("last_seq"), first_seq__lte=F("last_seq"))
    )
    passed: int | None = owed.aggregate(passed=Min(Greatest("acked_seq", F("first_seq") - 1)))["passed"]
    return passed


def merged_spans(spans: list[Span]) -> list[Span]:
    """Overlapping spans of an account's devices as one, so that no entry is read twice."""
    merged: list[Span] = []
    for span in spans:
        before = merged[-1] if merged else None
        if (
            before
            and before.convo_id == span.convo_id
            and (before.last_seq is None or span.first_seq <= before.last_seq)
        ):
            open_end = before.last_seq is None or span.last_seq is None
            last = None if open_end else max(before.last_seq or 0, span.last_seq or 0)
            merged[-1] = Span(span.convo_id, before.first_seq, last)
        else:
            merged.append(span)
    return merged
