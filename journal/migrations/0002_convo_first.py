"""The primary key begins with the convo, as everywhere; rows are looked up by ``id`` and age by staff only."""

from django.db import migrations

FORWARD = """
ALTER TABLE journal_refusal DROP CONSTRAINT journal_refusal_pkey;
ALTER TABLE journal_refusal ADD PRIMARY KEY (convo_id, id);
CREATE INDEX refusal_ids ON journal_refusal USING brin (id);
CREATE INDEX refusal_times ON journal_refusal USING brin (made_at);
"""


class Migration(migrations.Migration):
    dependencies = [("journal", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
