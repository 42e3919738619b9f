"""Dispatches to envelopes, in the order of the log; doing it twice is harmless.

One pass carries what waits in all convos, and passes take turns. A convo that cannot be carried keeps its dispatches,
is left alone for a while and blocks nobody else.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from catbird_mls.xrpc.meters import FAN_OUT_SECONDS, Carrier
from delivery.models import Dispatch
from delivery.nudges import nudge_readers

logger = logging.getLogger(__name__)

PASS_MAX_ENTRIES = 2000
HELD = timedelta(minutes=1)
TURN = "SELECT pg_advisory_xact_lock(hashtextextended('fan-out', 2))"
WAITING = "held_until IS NULL OR held_until < statement_timestamp()"
OF_ONE_CONVO = "convo_id = %(convo)s"
# An acknowledgement waits for these rows, and is waited for: what follows sees where it has left the mailbox.
TAKE = """
SELECT convo_id, min(seq), max(seq), array_agg(created_at)
  FROM (SELECT convo_id, seq, created_at FROM delivery_dispatch
         WHERE {which} ORDER BY convo_id, seq LIMIT %(most)s FOR UPDATE) AS taken
 GROUP BY convo_id
"""
# One row a device however many entries wait: a first entry inserts the span, further ones extend it. A device that
# has been away has several mailboxes and one envelope.
CARRY = """
WITH spans AS (
    SELECT * FROM unnest(%(convos)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[]) AS span (convo_id, first, last)
),
done AS (
    DELETE FROM delivery_dispatch USING spans
     WHERE delivery_dispatch.convo_id = spans.convo_id AND seq BETWEEN first AND last
)
INSERT INTO delivery_envelope (convo_id, did, device_id, first_seq, last_seq)
SELECT convo_id, did, device_id,
       min(GREATEST(first, first_seq, acked_seq + 1)), max(LEAST(last, COALESCE(last_seq, last)))
  FROM spans JOIN delivery_mailbox USING (convo_id)
 WHERE GREATEST(first, first_seq, acked_seq + 1) <= LEAST(last, COALESCE(last_seq, last))
 GROUP BY convo_id, did, device_id
 ORDER BY convo_id, did, device_id
    ON CONFLICT (convo_id, did, device_id) DO UPDATE
   SET first_seq = LEAST(delivery_envelope.first_seq, EXCLUDED.first_seq),
       last_seq = GREATEST(delivery_envelope.last_seq, EXCLUDED.last_seq),
       extended_at = CASE WHEN EXCLUDED.last_seq > delivery_envelope.last_seq
                          THEN statement_timestamp() ELSE delivery_envelope.extended_at END
"""
Taken = tuple[str, int, int, list[datetime]]


def fan_out(*, by: Carrier = "nudge") -> int:
    """Turn all waiting dispatches into envelopes and say how many there were.

    What comes meanwhile has a nudge of its own: waiting for it under load would be a pass for each few entries.
    """
    done = 0
    try:
        while done % PASS_MAX_ENTRIES == 0 and (carried := _one_pass(WAITING, by=by)):
            done += carried
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError as error:
        logger.warning("carrying convo by convo cause=%s", type(error).__name__)
        done += _convo_by_convo(by)
    return done


def _convo_by_convo(by: Carrier) -> int:
    """As much as can be carried when something in one pass cannot."""
    waiting = Dispatch.objects.extra(where=[WAITING])  # noqa: S610 - a constant
    done = 0
    for convo_id in list(waiting.order_by("convo_id").values_list("convo_id", flat=True).distinct()):
        try:
            done += _one_pass(OF_ONE_CONVO, by=by, convo_id=convo_id)
        except (OperationalError, InterfaceError):
            raise
        except DatabaseError as error:
            _hold(convo_id, error)
    return done


def _one_pass(which: str, *, by: Carrier, convo_id: str = "") -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TURN)
        cursor.execute(TAKE.format(which=which), {"convo": convo_id, "most": PASS_MAX_ENTRIES})
        taken: list[Taken] = cursor.fetchall()
        if not taken:
            return 0
        convos, firsts, lasts, _ = map(list, zip(*taken, strict=True))
        spans = {"convos": convos, "firsts": firsts, "lasts": lasts}
        cursor.execute(CARRY, spans)
        nudge_readers(spans)
    _observe(taken, by)
    return sum(len(accepted) for *_, accepted in taken)


def _hold(convo_id: str, error: DatabaseError) -> None:
    logger.error("cannot be carried convo=%s", convo_id, exc_info=error)
    fault = f"{type(error).__name__}: {error}"[:200]
    Dispatch.objects.filter(convo_id=convo_id).update(fault=fault, held_until=Now() + HELD)


def _observe(taken: Sequence[Taken], by: Carrier) -> None:
    now = timezone.now()
    for *_, accepted in taken:
        for moment in accepted:
            FAN_OUT_SECONDS.labels(by).observe(max(0.0, (now - moment).total_seconds()))
