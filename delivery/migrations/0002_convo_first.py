"""Primary keys that begin with the convo, so that the tables can be distributed by ``convo_id``."""

from django.db import migrations

FORWARD = """
ALTER TABLE delivery_mailbox DROP CONSTRAINT delivery_mailbox_pkey;
ALTER TABLE delivery_mailbox ADD PRIMARY KEY (convo_id, id);
CREATE INDEX mailbox_ids ON delivery_mailbox (id);

ALTER TABLE delivery_dispatch DROP CONSTRAINT delivery_dispatch_pkey;
ALTER TABLE delivery_dispatch DROP CONSTRAINT dispatch_one_an_entry;
ALTER TABLE delivery_dispatch ADD CONSTRAINT dispatch_one_an_entry PRIMARY KEY (convo_id, seq);

ALTER TABLE delivery_envelope DROP CONSTRAINT delivery_envelope_pkey;
ALTER TABLE delivery_envelope DROP CONSTRAINT envelope_one_a_device;
ALTER TABLE delivery_envelope ADD CONSTRAINT envelope_one_a_device PRIMARY KEY (convo_id, did, device_id);
CREATE INDEX envelope_ids ON delivery_envelope (id);
"""


class Migration(migrations.Migration):
    dependencies = [("delivery", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
