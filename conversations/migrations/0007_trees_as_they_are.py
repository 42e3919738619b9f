from django.db import migrations


class Migration(migrations.Migration):
    """A ratchet tree is keys and signatures: trying to compress it costs a commit milliseconds and gains nothing."""

    dependencies = [("conversations", "0006_unchecked_doors")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE conversations_groupstate ALTER COLUMN ratchet_tree SET STORAGE EXTERNAL",
            "ALTER TABLE conversations_groupstate ALTER COLUMN ratchet_tree SET STORAGE EXTENDED",
        )
    ]
