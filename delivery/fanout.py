"""Dispatches to envelopes, in the order of the log; doing it twice is harmless.

A convo's dispatches are held by a row lock while they are carried out, so two passes over one convo take
turns, and a convo that fails keeps its dispatches and blocks nobody else.
"""

from collections.abc import Sequence

from django.db import connection, transaction
from django.utils import timezone

from catbird_mls.xrpc.meters import FAN_OUT_SECONDS, Carrier
from delivery.models import Dispatch
from delivery.nudges import nudge_readers

PASS_MAX_ENTRIES = 500
SWEEP_MAX_CONVOS = 200

# One row a device however many entries wait: a first entry inserts the span, further ones extend it.
EXTEND_ENVELOPES = """
INSERT INTO delivery_envelope (convo_id, did, device_id, first_seq, last_seq)
SELECT convo_id, did, device_id,
       GREATEST(%(first)s, first_seq, acked_seq + 1), LEAST(%(last)s, COALESCE(last_seq, %(last)s))
  FROM delivery_mailbox
 WHERE convo_id = %(convo)s
   AND GREATEST(%(first)s, first_seq, acked_seq + 1) <= LEAST(%(last)s, COALESCE(last_seq, %(last)s))
 ORDER BY did, device_id
    ON CONFLICT (convo_id, did, device_id) DO UPDATE
   SET first_seq = LEAST(delivery_envelope.first_seq, EXCLUDED.first_seq),
       last_seq = GREATEST(delivery_envelope.last_seq, EXCLUDED.last_seq),
       extended_at = CASE WHEN EXCLUDED.last_seq > delivery_envelope.last_seq
                          THEN statement_timestamp() ELSE delivery_envelope.extended_at END
"""


def fan_out(convo_id: str, *, by: Carrier = "nudge") -> int:
    """Turn the waiting dispatches of a convo into envelopes and say how many there were."""
    done = 0
    while carried := _one_pass(convo_id):
        _observe(carried, by)
        done += len(carried)
    return done


def sweep() -> int:
    """Do what no nudge reached: every convo with a waiting dispatch."""
    waiting = Dispatch.objects.order_by().values_list("convo_id", flat=True).distinct()[:SWEEP_MAX_CONVOS]
    return sum(fan_out(convo_id, by="sweep") for convo_id in list(waiting))


def _one_pass(convo_id: str) -> list[Dispatch]:
    with transaction.atomic():
        dispatches = list(
            Dispatch.objects.select_for_update().filter(convo_id=convo_id).order_by("seq")[:PASS_MAX_ENTRIES]
        )
        if not dispatches:
            return []
        first, last = dispatches[0].seq, dispatches[-1].seq
        with connection.cursor() as cursor:
            cursor.execute(EXTEND_ENVELOPES, {"convo": convo_id, "first": first, "last": last})
        nudge_readers(convo_id=convo_id, first=first, last=last)
        Dispatch.objects.filter(pk__in=[dispatch.pk for dispatch in dispatches]).delete()
    return dispatches


def _observe(carried: Sequence[Dispatch], by: Carrier) -> None:
    now = timezone.now()
    for dispatch in carried:
        FAN_OUT_SECONDS.labels(by).observe(max(0.0, (now - dispatch.created_at).total_seconds()))
