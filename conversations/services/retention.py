"""What becomes of old entries: dropped a convo and a batch at a time, so that no lock is held for long.

Messages and proposals go after MESSAGE_TTL_DAYS. Commits stay until every device that is owed them has acknowledged
them, and go after CATBIRD_COMMIT_KEEP_DAYS in any case; who comes later is told so by name and joins anew. A convo
knows up to where something is missing, so that no reader takes what is left for the whole.
"""

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from conversations.locks import locked_convo
from conversations.models import Answer, Convo, Kind, Message, RejoinAttempt
from delivery.selectors import acknowledged_by_all

BATCH = 1000
CONVOS_AT_ONCE = 200


def drop_old_entries() -> int:
    """Says how many went; doing it twice at once, or again, is harmless."""
    found = Message.objects.filter(_old(~Q(kind=Kind.COMMIT)))
    convo_ids = found.order_by().values_list("convo_id", flat=True).distinct()[:CONVOS_AT_ONCE]
    return sum(_drop_some(convo_id) for convo_id in list(convo_ids))


def drop_old_records() -> int:
    """First answers that nobody asks for again, and attempts to come back, are kept as long as commits."""
    before = timezone.now() - timedelta(days=settings.CATBIRD_COMMIT_KEEP_DAYS)
    answers = Answer.objects.filter(created_at__lt=before).order_by("pk").values("pk")[:BATCH]
    attempts = RejoinAttempt.objects.filter(made_at__lt=before).order_by("pk").values("pk")[:BATCH]
    dropped, _ = Answer.objects.filter(pk__in=answers).delete()
    more, _ = RejoinAttempt.objects.filter(pk__in=attempts).delete()
    return dropped + more


def _drop_some(convo_id: str) -> int:
    with locked_convo(convo_id) as convo:
        passed = acknowledged_by_all(convo_id)
        of_use_to_nobody = Q(seq__lte=convo.last_seq if passed is None else passed)
        old = Message.objects.filter(_old(~Q(kind=Kind.COMMIT) | of_use_to_nobody), convo=convo).order_by("seq")
        rows = list(old.values_list("seq", "kind", "epoch")[:BATCH])
        Message.objects.filter(convo=convo, seq__in=[seq for seq, _, _ in rows]).delete()
        _note_gap(convo, rows)
    return len(rows)


def _old(droppable: Q) -> Q:
    """Entries past their time: what may be dropped after the shorter one, everything after the longer one."""
    now = timezone.now()
    shorter = Q(received_at__lt=now - timedelta(days=settings.MESSAGE_TTL_DAYS))
    longer = Q(received_at__lt=now - timedelta(days=settings.CATBIRD_COMMIT_KEEP_DAYS))
    return shorter & droppable | longer


def _note_gap(convo: Convo, rows: list[tuple[int, str, int]]) -> None:
    if not rows:
        return
    convo.purged_seq = max(convo.purged_seq, *(seq for seq, _, _ in rows))
    epochs = [epoch for _, kind, epoch in rows if kind == Kind.COMMIT]
    convo.purged_epoch = max([*epochs, convo.purged_epoch or 0]) if epochs else convo.purged_epoch
    convo.save(update_fields=["purged_seq", "purged_epoch"])
