import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import keypackages.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="OptIn",
            fields=[
                ("did", models.TextField(primary_key=True, serialize=False)),
                ("opted_in", models.BooleanField()),
                ("changed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="WelcomeBody",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("convo_id", models.TextField()),
                ("epoch", models.PositiveBigIntegerField()),
                ("body", models.BinaryField()),
                ("ratchet_tree", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name_plural": "Welcome bodies",
            },
        ),
        migrations.CreateModel(
            name="DailyCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("did", models.TextField()),
                ("cipher_suite", models.TextField()),
                ("day", models.DateField()),
                ("published", models.PositiveIntegerField(default=0)),
                ("spent", models.PositiveIntegerField(default=0)),
                ("expired", models.PositiveIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("did", "cipher_suite", "day"), name="daily_count_one_a_day")
                ],
            },
        ),
        migrations.CreateModel(
            name="Device",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=keypackages.models.new_device_id, max_length=64, primary_key=True, serialize=False
                    ),
                ),
                ("did", models.TextField()),
                ("device_uuid", models.TextField(blank=True)),
                ("name", models.TextField()),
                ("signature_key", models.BinaryField()),
                ("registered_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("deleted_at", models.DateTimeField(null=True)),
                ("low_stock_noticed_at", models.DateTimeField(null=True)),
                ("needs_recovery_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("deleted_at__isnull", True)),
                        fields=("did", "signature_key"),
                        name="device_one_a_key",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("deleted_at__isnull", True), models.Q(("device_uuid", ""), _negated=True)),
                        fields=("did", "device_uuid"),
                        name="device_one_a_uuid",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="KeyPackage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("did", models.TextField()),
                ("reference", models.BinaryField()),
                ("cipher_suite", models.TextField()),
                ("body", models.BinaryField()),
                ("last_resort", models.BooleanField(default=False)),
                ("expires_at", models.DateTimeField()),
                ("published_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("handed_out_at", models.DateTimeField(null=True)),
                ("spent_at", models.DateTimeField(null=True)),
                ("spent_in_convo", models.TextField(blank=True)),
                ("spent_by_device", models.TextField(blank=True)),
                ("consumed_at", models.DateTimeField(null=True)),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="key_packages",
                        to="keypackages.device",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Welcome",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("convo_id", models.TextField()),
                ("did", models.TextField()),
                ("device_id", models.TextField(blank=True)),
                ("epoch", models.PositiveBigIntegerField()),
                ("reference", models.BinaryField()),
                ("convo_epoch", models.PositiveBigIntegerField()),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("fetched", "Fetched"),
                            ("confirmed", "Confirmed"),
                            ("refused", "Refused"),
                            ("expired", "Expired"),
                            ("superseded", "Superseded"),
                        ],
                        default="waiting",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("first_fetched_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("rung_at", models.DateTimeField(null=True)),
                ("rings", models.PositiveIntegerField(default=0)),
                ("reason", models.TextField(blank=True)),
                (
                    "key_package",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="welcomes",
                        to="keypackages.keypackage",
                    ),
                ),
                (
                    "body",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="recipients",
                        to="keypackages.welcomebody",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="keypackage",
            index=models.Index(fields=["reference"], name="key_package_by_reference"),
        ),
        migrations.AddIndex(
            model_name="keypackage",
            index=models.Index(
                models.F("device"),
                models.F("last_resort"),
                models.OrderBy(models.F("handed_out_at"), nulls_first=True),
                condition=models.Q(("spent_at__isnull", True)),
                name="key_package_unspent",
            ),
        ),
        migrations.AddIndex(
            model_name="keypackage",
            index=models.Index(fields=["expires_at"], name="key_package_by_end"),
        ),
        migrations.AddConstraint(
            model_name="keypackage",
            constraint=models.UniqueConstraint(fields=("did", "reference"), name="key_package_one_row_a_reference"),
        ),
        migrations.AddConstraint(
            model_name="keypackage",
            constraint=models.CheckConstraint(
                condition=models.Q(("consumed_at__isnull", True), ("spent_at__isnull", False), _connector="OR"),
                name="key_package_consumed_after_spent",
            ),
        ),
        migrations.AddConstraint(
            model_name="keypackage",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("spent_at__isnull", True), ("spent_in_convo", "")),
                    models.Q(("spent_at__isnull", False), models.Q(("spent_in_convo", ""), _negated=True)),
                    _connector="OR",
                ),
                name="key_package_spent_in_a_convo",
            ),
        ),
        migrations.AddIndex(
            model_name="welcome",
            index=models.Index(fields=["convo_id", "did", "device_id"], name="welcome_of_a_device"),
        ),
        migrations.AddIndex(
            model_name="welcome",
            index=models.Index(
                condition=models.Q(("state__in", ("waiting", "fetched", "expired"))),
                fields=["created_at"],
                name="welcome_unsettled",
            ),
        ),
        migrations.AddConstraint(
            model_name="welcome",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["waiting", "fetched", "confirmed", "refused", "expired", "superseded"])
                ),
                name="welcome_state_known",
            ),
        ),
    ]
