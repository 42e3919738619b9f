"""The one statement that gives application messages their places.

It judges a batch under the locks of its convos and returns one outcome a message: a refusal is a row, never an
exception, so that no message can fail its neighbours. Locks are taken in the order of the convos' ids.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION conversations_append_messages(
    convo_ids text[], dids text[], device_ids text[], msg_ids text[], epochs bigint[], tags bytea[], bodies bytea[],
    suspects boolean[], epoch_window integer
) RETURNS TABLE (
    place integer, outcome text, seq bigint, epoch bigint, received_at timestamptz, current_epoch bigint
)
LANGUAGE plpgsql
-- Planning anew costs more than the whole rest. The one plan is kept, and may have been made while the tables were
-- small: it goes to each row by its index all the same, to a message by the one index that has this order.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz;
BEGIN
    PERFORM 1 FROM conversations_convo c WHERE c.id = ANY(convo_ids) ORDER BY c.id FOR NO KEY UPDATE;
    moment := clock_timestamp();
    RETURN QUERY
    WITH judged AS MATERIALIZED (
        SELECT a.*, c.epoch AS current, c.last_seq AS last, e.seq AS first_seq, e.epoch AS first_epoch,
               e.received_at AS first_at,
               CASE
                 WHEN m.found IS NULL THEN CASE
                     WHEN c.closed_at IS NOT NULL AND EXISTS (
                         SELECT 1 FROM conversations_member m WHERE m.convo_id = a.convo_id AND m.did = a.did
                     ) THEN 'ended' ELSE 'stranger' END
                 WHEN e.seq IS NOT NULL THEN
                     CASE WHEN e.sender_tag = a.tag AND e.body = a.body THEN 'again' ELSE 'clash' END
                 WHEN a.epoch > c.epoch OR a.epoch < c.epoch - epoch_window THEN 'epoch'
                 WHEN a.suspect THEN 'suspect'
                 WHEN row_number() OVER (PARTITION BY a.convo_id, a.msg_id ORDER BY a.place) > 1 THEN 'twice'
                 ELSE 'new'
               END AS verdict
          FROM unnest(convo_ids, dids, device_ids, msg_ids, epochs, tags, bodies, suspects)
               WITH ORDINALITY AS a (convo_id, did, device_id, msg_id, epoch, tag, body, suspect, place)
          LEFT JOIN LATERAL (
              SELECT c.epoch, c.last_seq, c.closed_at FROM conversations_convo c WHERE c.id = a.convo_id LIMIT 1
          ) c ON true
          LEFT JOIN LATERAL (
              SELECT true AS found FROM conversations_member m
               WHERE m.convo_id = a.convo_id AND m.did = a.did AND m.left_at IS NULL AND m.leaving_at IS NULL
                 AND (a.device_id IS NULL OR m.device_id IN (a.device_id, ''))
               LIMIT 1
          ) m ON true
          LEFT JOIN LATERAL (
              SELECT next.*
                FROM (SELECT * FROM conversations_message e
                       WHERE e.convo_id = a.convo_id AND e.msg_id >= a.msg_id
                       ORDER BY e.convo_id, e.msg_id
                       LIMIT 1) next
               WHERE next.msg_id = a.msg_id
          ) e ON true
    ), numbered AS MATERIALIZED (
        SELECT j.*, j.last + row_number() OVER (PARTITION BY j.convo_id ORDER BY j.place) AS new_seq
          FROM judged j WHERE j.verdict = 'new'
    ), inserted AS (
        INSERT INTO conversations_message
               (convo_id, seq, epoch, kind, msg_id, sender_tag, sender_did, body, size, received_at)
        SELECT n.convo_id, n.new_seq, n.epoch, 'app', n.msg_id, n.tag, '', n.body, octet_length(n.body), moment
          FROM numbered n
    ), dispatched AS (
        INSERT INTO delivery_dispatch (convo_id, seq) SELECT n.convo_id, n.new_seq FROM numbered n
    ), counted AS (
        UPDATE conversations_convo c SET last_seq = t.top, last_message_at = moment
          FROM (SELECT n.convo_id, max(n.new_seq) AS top FROM numbered n GROUP BY n.convo_id) t
         WHERE c.id = t.convo_id
    )
    SELECT j.place::integer, j.verdict, coalesce(n.new_seq, j.first_seq), coalesce(j.first_epoch, j.epoch),
           coalesce(j.first_at, moment), j.current
      FROM judged j LEFT JOIN numbered n ON n.place = j.place;
END
$$;
"""
BACKWARD = """
DROP FUNCTION conversations_append_messages(
    text[], text[], text[], text[], bigint[], bytea[], bytea[], boolean[], integer
);
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0004_retention"), ("delivery", "0002_convo_first")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
