"""Who is to be told by a push that something waits.

One row a device, from the first entry it does not hear of by a stream until it is heard of again, so that it is
pushed to once however many entries wait. A row is claimed for a time and then settled; a worker that dies in
between leaves it due again. Without credentials of a provider there are no rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, F, IntegerField, Value, When
from django.db.models.functions import Coalesce, Now

from delivery.courier import courier
from delivery.locks import some_due_nudges
from delivery.models import Nudge, PushToken

PUSH_TASK = "delivery.tasks.push"
# Longer than a batch of pushes may take, however slow the provider.
CLAIM = timedelta(seconds=120)
# Time for a device that was just heard of to get on with reading, and for entries of that moment to be carried.
CONTACT_PAUSE = timedelta(seconds=3)

# A nudge that waits for its device is taken up again when it would tell more than the last one did, when that
# one was given up, and when it was so long ago that it may have been lost.
REOPENED = """
(nudge.quiet AND NOT %(quiet)s)
OR (nudge.due_at IS NOT NULL AND %(asked)s AND NOT nudge.asked)
OR (nudge.due_at IS NULL AND (nudge.given_up_at IS NOT NULL OR nudge.sent_at < statement_timestamp() - %(again)s))
"""
# The rows that need no change are left out beforehand: a conflict would lock each of them, entry after entry.
NUDGE = """
INSERT INTO delivery_nudge AS nudge (did, device_id, asked, quiet)
SELECT DISTINCT token.did, token.device_id, %(asked)s, %(quiet)s
  FROM ({devices}) AS waiting
  JOIN delivery_pushtoken AS token
    ON token.did = waiting.did AND waiting.device_id IN ('', token.device_id) AND token.platform = ANY(%(platforms)s)
  LEFT JOIN delivery_nudge AS nudge ON nudge.did = token.did AND nudge.device_id = token.device_id
 WHERE nudge.id IS NULL OR {reopened}
 ORDER BY 1, 2
    ON CONFLICT (did, device_id) DO UPDATE
   SET asked = nudge.asked OR EXCLUDED.asked, quiet = nudge.quiet AND EXCLUDED.quiet, claim = nudge.claim + 1,
       due_at = statement_timestamp(), attempts = 0, connected_at = NULL, given_up_at = NULL, cause = ''
 WHERE {reopened}
"""
READERS = """
SELECT did, device_id
  FROM unnest(%(convos)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[]) AS span (convo_id, first, last)
  JOIN delivery_mailbox USING (convo_id)
 WHERE GREATEST(first, first_seq, acked_seq + 1) <= LEAST(last, COALESCE(last_seq, last))
"""
THESE_DEVICES = "SELECT * FROM unnest(%(dids)s::text[], %(devices)s::text[]) AS device (did, device_id)"
NEWEST_WAITING = """
SELECT nudge.id, max(envelope.extended_at)
  FROM delivery_nudge AS nudge
  JOIN delivery_mailbox AS mailbox ON mailbox.did = nudge.did AND mailbox.device_id IN ('', nudge.device_id)
  JOIN delivery_envelope AS envelope
    ON (envelope.convo_id, envelope.did, envelope.device_id) = (mailbox.convo_id, mailbox.did, mailbox.device_id)
 WHERE nudge.id = ANY(%s)
 GROUP BY nudge.id
"""
# An entry that is accepted and not carried yet is seen as its dispatch: its envelope appears in the instant in which
# that goes, so in one statement one of them is found, and no entry comes between the look and the deletion.
DROP_UNLESS_NEWS = """
DELETE FROM delivery_nudge AS nudge
 WHERE id = %(id)s AND claim = %(claim)s
   AND NOT EXISTS (
       SELECT FROM delivery_mailbox AS mailbox
         LEFT JOIN delivery_envelope AS envelope USING (convo_id, did, device_id)
         LEFT JOIN delivery_dispatch AS dispatch
           ON dispatch.convo_id = mailbox.convo_id AND dispatch.seq <= COALESCE(mailbox.last_seq, dispatch.seq)
        WHERE mailbox.did = nudge.did AND mailbox.device_id IN ('', nudge.device_id)
          AND (envelope.extended_at > COALESCE(%(told_at)s::timestamptz, '-infinity') OR dispatch.seq IS NOT NULL))
"""


def nudge_readers(spans: Mapping[str, Any]) -> None:
    """Mark the devices that these entries wait for, in the transaction that carries the entries.

    ``spans`` has lists of ``convos``, ``firsts`` and ``lasts``. All in one statement, because whoever marks several
    devices takes their rows in one order: convo by convo two transactions could wait for each other.
    """
    _nudge(READERS, spans, asked=False, quiet=False)


def nudge_devices(devices: Iterable[tuple[str, str]], *, quiet: bool) -> None:
    """Mark devices, or all of an account, that something else than an entry waits for."""
    wanted = sorted(devices)
    which = {"dids": [did for did, _ in wanted], "devices": [device_id for _, device_id in wanted]}
    _nudge(THESE_DEVICES, which, asked=True, quiet=quiet)


def note_contact(*, did: str, device_id: str | None) -> None:
    """The device has read something, or is about to: the next that comes is worth a push again.

    What has come since the last push and waits still is pushed for. A push that is just being made is judged
    anew afterwards, because it may be what the device has answered to.
    """
    if not settings.PUSH_PLATFORMS:
        return
    mine = Nudge.objects.filter(did=did) if device_id is None else Nudge.objects.filter(did=did, device_id=device_id)
    mine.update(
        claim=F("claim") + 1,
        due_at=Coalesce("due_at", Now() + CONTACT_PAUSE),
        attempts=Case(When(due_at__isnull=True, then=Value(0)), default="attempts", output_field=IntegerField()),
    )


def claim_nudges(limit: int) -> list[Nudge]:
    """Take up nudges that are due; nobody else does until they are settled, or the claim has lapsed."""
    with transaction.atomic(durable=True):
        claimed = some_due_nudges(limit)
        Nudge.objects.filter(pk__in=[nudge.pk for nudge in claimed]).update(
            claim=F("claim") + 1, attempts=F("attempts") + 1, due_at=Now() + CLAIM
        )
    for nudge in claimed:
        nudge.claim += 1
        nudge.attempts += 1
    return claimed


def newest_waiting(nudges: Sequence[Nudge]) -> dict[int, datetime]:
    """When the newest entry came that waits for each of these devices; none for those that have read everything."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST_WAITING, [[nudge.pk for nudge in nudges]])
        return dict(cursor.fetchall())


def tokens_of(nudges: Iterable[Nudge]) -> dict[tuple[str, str], list[PushToken]]:
    """The tokens that a push to these devices can go to."""
    wanted = {(nudge.did, nudge.device_id) for nudge in nudges}
    tokens = PushToken.objects.filter(did__in={did for did, _ in wanted}, platform__in=settings.PUSH_PLATFORMS)
    found: dict[tuple[str, str], list[PushToken]] = {}
    for token in tokens.order_by("pk"):
        if (token.did, token.device_id) in wanted:
            found.setdefault((token.did, token.device_id), []).append(token)
    return found


def settle_sent(nudge: Nudge) -> None:
    """What comes from the moment of the claim on is not what the push told of."""
    told_at = F("due_at") - CLAIM
    _settle(nudge, due_at=None, sent_at=told_at, given_up_at=None, connected_at=None, asked=False, attempts=0, cause="")


def settle_failed(nudge: Nudge, *, cause: str, pause: timedelta) -> None:
    _settle(nudge, due_at=Now() + pause, cause=cause)


def settle_given_up(nudge: Nudge, *, cause: str) -> None:
    _settle(nudge, due_at=None, given_up_at=Now(), cause=cause)


def settle_connected(nudge: Nudge, *, pause: timedelta) -> None:
    """A stream is open: look again when one that has died since would be known to have."""
    _settle(nudge, due_at=Now() + pause, connected_at=Now(), attempts=nudge.attempts - 1)


def settle_told(nudge: Nudge, *, told_at: datetime | None) -> None:
    """Nothing has come since the device was told: drop the nudge, or look again if something comes just now."""
    with connection.cursor() as cursor:
        cursor.execute(DROP_UNLESS_NEWS, {"id": nudge.pk, "claim": nudge.claim, "told_at": told_at})
        if not cursor.rowcount:
            _settle(nudge, due_at=Now() + CONTACT_PAUSE, attempts=nudge.attempts - 1)


def settle_unreachable(nudge: Nudge) -> None:
    """There is nowhere to push to."""
    Nudge.objects.filter(pk=nudge.pk, claim=nudge.claim).delete()


def _settle(nudge: Nudge, **columns: Any) -> None:
    Nudge.objects.filter(pk=nudge.pk, claim=nudge.claim).update(**columns)


def _nudge(devices: str, which: Mapping[str, Any], *, asked: bool, quiet: bool) -> None:
    platforms: list[str] = settings.PUSH_PLATFORMS
    if not platforms:
        return
    again = timedelta(seconds=settings.CATBIRD_PUSH_AGAIN_SECONDS)
    given = {**which, "asked": asked, "quiet": quiet, "platforms": platforms, "again": again}
    with connection.cursor() as cursor:
        cursor.execute(NUDGE.format(devices=devices, reopened=f"({REOPENED})"), given)
        if cursor.rowcount:
            transaction.on_commit(lambda: courier.nudge(PUSH_TASK, _begin_push), robust=True)


def _begin_push(task: str) -> None:
    # By name, because tasks import this module; the sweep does it when the broker is down.
    current_app.send_task(task)
