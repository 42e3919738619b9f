"""Welcomes are kept by convo, so that their tables can be distributed by ``convo_id``."""

from django.db import migrations

FORWARD = """
ALTER TABLE keypackages_welcomebody DROP CONSTRAINT keypackages_welcomebody_pkey;
ALTER TABLE keypackages_welcomebody ADD PRIMARY KEY (convo_id, id);
CREATE INDEX welcome_body_ids ON keypackages_welcomebody (id);

ALTER TABLE keypackages_welcome DROP CONSTRAINT keypackages_welcome_pkey;
ALTER TABLE keypackages_welcome ADD PRIMARY KEY (convo_id, id);
CREATE INDEX welcome_ids ON keypackages_welcome (id);
"""


class Migration(migrations.Migration):
    dependencies = [("keypackages", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
