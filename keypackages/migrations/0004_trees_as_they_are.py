from django.db import migrations


class Migration(migrations.Migration):
    """As with the tree that a convo keeps: compressing keys and signatures costs time and gains nothing."""

    dependencies = [("keypackages", "0003_counts_by_event")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE keypackages_welcomebody ALTER COLUMN ratchet_tree SET STORAGE EXTERNAL",
            "ALTER TABLE keypackages_welcomebody ALTER COLUMN ratchet_tree SET STORAGE EXTENDED",
        )
    ]
