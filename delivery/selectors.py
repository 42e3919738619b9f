from dataclasses import dataclass

from django.db.models import F, Q, QuerySet

from delivery.models import Mailbox


@dataclass(frozen=True, slots=True)
class Span:
    """What a device may read of one convo: ``first_seq`` to ``last_seq``, or onwards while that is None."""

    convo_id: str
    first_seq: int
    last_seq: int | None


def _mailboxes(*, did: str, device_id: str | None) -> QuerySet[Mailbox]:
    mine = Mailbox.objects.filter(did=did)
    if device_id is not None:
        mine = mine.filter(device_id__in=[device_id, ""])
    return mine


def readable_spans(*, did: str, device_id: str | None, convo_id: str | None = None) -> list[Span]:
    """The spans of the log that are still owed to a device (or to any device of an account), oldest first.

    A span that has ended stays readable until it is acknowledged: what was accepted while a device was a
    member reaches it even after its removal.
    """
    mine = _mailboxes(did=did, device_id=device_id).filter(
        Q(last_seq__isnull=True) | Q(acked_seq__lt=F("last_seq"), first_seq__lte=F("last_seq"))
    )
    if convo_id is not None:
        mine = mine.filter(convo_id=convo_id)
    rows = mine.order_by("convo_id", "first_seq").values_list("convo_id", "first_seq", "last_seq")
    return _merged([Span(*row) for row in rows])


def _merged(spans: list[Span]) -> list[Span]:
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
