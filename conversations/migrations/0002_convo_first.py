"""Primary keys that begin with the convo, and indexes that follow the order in which rows are written.

Django addresses a row by its ``id``; the database keeps the rows of a convo together, so that the tables can
be distributed by ``convo_id``. Entries are looked up by ``id``, time or transaction only by staff and on
connecting, for which block ranges are enough.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE conversations_message DROP CONSTRAINT conversations_message_pkey;
ALTER TABLE conversations_message DROP CONSTRAINT message_one_entry_a_place;
ALTER TABLE conversations_message ADD CONSTRAINT message_one_entry_a_place PRIMARY KEY (convo_id, seq);
ALTER TABLE conversations_message ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX message_ids ON conversations_message USING brin (id);
CREATE INDEX message_transactions ON conversations_message USING brin (transaction);
CREATE INDEX message_times ON conversations_message USING brin (received_at);

ALTER TABLE conversations_member DROP CONSTRAINT conversations_member_pkey;
ALTER TABLE conversations_member ADD PRIMARY KEY (convo_id, id);
CREATE INDEX member_ids ON conversations_member (id);

ALTER TABLE conversations_proposal DROP CONSTRAINT conversations_proposal_pkey;
ALTER TABLE conversations_proposal ADD PRIMARY KEY (convo_id, id);

ALTER TABLE conversations_answer DROP CONSTRAINT conversations_answer_pkey;
ALTER TABLE conversations_answer ADD PRIMARY KEY (convo_id, id);
CREATE INDEX answer_ids ON conversations_answer USING brin (id);

ALTER TABLE conversations_rejoinattempt DROP CONSTRAINT conversations_rejoinattempt_pkey;
ALTER TABLE conversations_rejoinattempt ADD PRIMARY KEY (convo_id, id);
CREATE INDEX rejoin_attempt_ids ON conversations_rejoinattempt USING brin (id);

ALTER TABLE conversations_additionclaim DROP CONSTRAINT conversations_additionclaim_pkey;
ALTER TABLE conversations_additionclaim ADD PRIMARY KEY (convo_id, id);

ALTER TABLE conversations_readditionrequest DROP CONSTRAINT conversations_readditionrequest_pkey;
ALTER TABLE conversations_readditionrequest ADD PRIMARY KEY (convo_id, id);
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
