import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Refusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("convo_id", models.TextField(blank=True)),
                ("did", models.TextField()),
                ("device_id", models.TextField(blank=True)),
                ("nsid", models.TextField()),
                ("thing", models.TextField()),
                ("code", models.TextField()),
                ("message", models.TextField()),
                ("epoch", models.PositiveBigIntegerField(null=True)),
                ("size", models.PositiveIntegerField(default=0)),
                ("sha256", models.TextField(blank=True)),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "indexes": [models.Index(fields=["convo_id", "did", "made_at"], name="refusals_of_an_account")],
            },
        ),
    ]
