import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Dispatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("convo_id", models.TextField()),
                ("seq", models.PositiveBigIntegerField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name_plural": "dispatches",
                "constraints": [models.UniqueConstraint(fields=("convo_id", "seq"), name="dispatch_one_an_entry")],
            },
        ),
        migrations.CreateModel(
            name="Envelope",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("convo_id", models.TextField()),
                ("did", models.TextField()),
                ("device_id", models.TextField(blank=True)),
                ("first_seq", models.PositiveBigIntegerField()),
                ("last_seq", models.PositiveBigIntegerField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("convo_id", "did", "device_id"), name="envelope_one_a_device"),
                    models.CheckConstraint(
                        condition=models.Q(("first_seq__lte", models.F("last_seq"))), name="envelope_span_not_empty"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Mailbox",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("convo_id", models.TextField()),
                ("did", models.TextField()),
                ("device_id", models.TextField(blank=True)),
                ("first_seq", models.PositiveBigIntegerField()),
                ("last_seq", models.PositiveBigIntegerField(null=True)),
                ("acked_seq", models.PositiveBigIntegerField(default=0)),
                ("opened_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("closed_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name_plural": "mailboxes",
                "indexes": [models.Index(fields=["did", "convo_id"], name="mailbox_of_an_account")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("convo_id", "did", "device_id"),
                        name="mailbox_one_open_a_device",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_at__isnull", True), ("last_seq__isnull", True)),
                            models.Q(
                                ("closed_at__isnull", False),
                                (
                                    "last_seq__gte",
                                    django.db.models.expressions.CombinedExpression(
                                        models.F("first_seq"), "-", models.Value(1)
                                    ),
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="mailbox_closed_completely",
                    ),
                ],
            },
        ),
    ]
