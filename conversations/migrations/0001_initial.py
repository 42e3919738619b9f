import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="AdditionClaim",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("device_id", models.TextField()),
                ("claimed_by", models.TextField()),
                ("claimed_at", models.DateTimeField()),
                ("completed_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Answer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("did", models.TextField()),
                ("nsid", models.TextField()),
                ("key", models.CharField(max_length=64)),
                ("digest", models.BinaryField()),
                ("answer", models.JSONField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="Convo",
            fields=[
                ("id", models.CharField(max_length=128, primary_key=True, serialize=False)),
                ("group_id", models.BinaryField()),
                ("creator_did", models.TextField()),
                ("cipher_suite", models.TextField()),
                ("mode", models.TextField(choices=[("tracked", "Tracked"), ("opaque", "Opaque")])),
                ("epoch", models.PositiveBigIntegerField()),
                ("last_seq", models.PositiveBigIntegerField(default=0)),
                ("name", models.TextField(blank=True)),
                ("description", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_message_at", models.DateTimeField(null=True)),
                ("closed_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Member",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("did", models.TextField()),
                ("device_id", models.TextField(blank=True)),
                ("leaf_index", models.PositiveIntegerField(null=True)),
                ("is_admin", models.BooleanField(default=False)),
                ("is_moderator", models.BooleanField(default=False)),
                ("promoted_at", models.DateTimeField(null=True)),
                ("promoted_by", models.TextField(blank=True)),
                ("joined_seq", models.PositiveBigIntegerField()),
                ("joined_epoch", models.PositiveBigIntegerField()),
                ("joined_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("leaving_at", models.DateTimeField(null=True)),
                ("left_seq", models.PositiveBigIntegerField(null=True)),
                ("left_epoch", models.PositiveBigIntegerField(null=True)),
                ("left_at", models.DateTimeField(null=True)),
                ("left_how", models.TextField(blank=True, choices=[("left", "Left"), ("removed", "Removed")])),
            ],
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seq", models.PositiveBigIntegerField()),
                ("epoch", models.PositiveBigIntegerField()),
                ("kind", models.TextField(choices=[("app", "App"), ("commit", "Commit"), ("proposal", "Proposal")])),
                ("msg_id", models.CharField(max_length=64)),
                ("sender_tag", models.BinaryField()),
                ("sender_did", models.TextField(blank=True)),
                ("body", models.BinaryField()),
                ("size", models.PositiveIntegerField()),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "transaction",
                    models.BigIntegerField(
                        db_default=django.db.models.functions.comparison.Cast(
                            django.db.models.functions.comparison.Cast(
                                models.Func(function="pg_current_xact_id"), output_field=models.TextField()
                            ),
                            output_field=models.BigIntegerField(),
                        )
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Proposal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seq", models.PositiveBigIntegerField()),
                ("epoch", models.PositiveBigIntegerField()),
                ("reference", models.BinaryField()),
                ("removes_leaf", models.PositiveIntegerField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ReadditionRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("did", models.TextField()),
                ("device_id", models.TextField(blank=True)),
                ("requested_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("answered_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "re-adding request",
            },
        ),
        migrations.CreateModel(
            name="RejoinAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("way", models.TextField()),
                ("convo_id", models.TextField()),
                ("did", models.TextField()),
                ("device_id", models.TextField(blank=True)),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("outcome", models.TextField()),
                ("epoch", models.PositiveBigIntegerField(null=True)),
                ("size", models.PositiveIntegerField(default=0)),
                ("digest", models.BinaryField(default=b"")),
            ],
        ),
        migrations.CreateModel(
            name="Rollout",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("percent", models.PositiveSmallIntegerField()),
                ("internal_dids", models.TextField(blank=True, help_text="Accounts that always have it, one a line.")),
            ],
        ),
        migrations.CreateModel(
            name="GroupState",
            fields=[
                (
                    "convo",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="state",
                        serialize=False,
                        to="conversations.convo",
                    ),
                ),
                ("epoch", models.PositiveBigIntegerField()),
                ("ratchet_tree", models.BinaryField()),
                ("group_context", models.BinaryField()),
                ("confirmation_tag", models.BinaryField()),
                ("group_info", models.BinaryField()),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.AddConstraint(
            model_name="convo",
            constraint=models.CheckConstraint(
                condition=models.Q(("mode__in", ["tracked", "opaque"])), name="convo_mode_known"
            ),
        ),
        migrations.AddField(
            model_name="answer",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="answers",
                to="conversations.convo",
            ),
        ),
        migrations.AddField(
            model_name="additionclaim",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="addition_claims",
                to="conversations.convo",
            ),
        ),
        migrations.AddField(
            model_name="member",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="members",
                to="conversations.convo",
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="messages",
                to="conversations.convo",
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="proposals",
                to="conversations.convo",
            ),
        ),
        migrations.AddField(
            model_name="readditionrequest",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="readdition_requests",
                to="conversations.convo",
            ),
        ),
        migrations.AddIndex(
            model_name="rejoinattempt",
            index=models.Index(fields=["convo_id", "did", "made_at"], name="rejoin_attempts"),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.CheckConstraint(condition=models.Q(("percent__lte", 100)), name="rollout_percent"),
        ),
        migrations.AddConstraint(
            model_name="answer",
            constraint=models.UniqueConstraint(fields=("convo", "did", "nsid", "key"), name="answer_one_a_key"),
        ),
        migrations.AddConstraint(
            model_name="additionclaim",
            constraint=models.UniqueConstraint(fields=("convo", "device_id"), name="addition_claim_one_a_device"),
        ),
        migrations.AddIndex(
            model_name="member",
            index=models.Index(fields=["did", "convo"], name="member_convos_of_an_account"),
        ),
        migrations.AddConstraint(
            model_name="member",
            constraint=models.UniqueConstraint(
                condition=models.Q(("leaving_at__isnull", True), ("left_at__isnull", True)),
                fields=("convo", "did", "device_id"),
                name="member_one_place_a_device",
            ),
        ),
        migrations.AddConstraint(
            model_name="member",
            constraint=models.UniqueConstraint(
                condition=models.Q(("leaf_index__isnull", False), ("left_at__isnull", True)),
                fields=("convo", "leaf_index"),
                name="member_one_open_row_a_leaf",
            ),
        ),
        migrations.AddConstraint(
            model_name="member",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("left_at__isnull", True),
                        ("left_epoch__isnull", True),
                        ("left_how", ""),
                        ("left_seq__isnull", True),
                    ),
                    models.Q(
                        ("left_at__isnull", False),
                        ("left_epoch__isnull", False),
                        ("left_seq__gte", models.F("joined_seq")),
                        models.Q(("left_how", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="member_left_completely",
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.UniqueConstraint(fields=("convo", "seq"), name="message_one_entry_a_place"),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.UniqueConstraint(fields=("convo", "msg_id"), name="message_one_entry_an_id"),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "commit")), fields=("convo", "epoch"), name="message_one_commit_an_epoch"
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.CheckConstraint(condition=models.Q(("seq__gte", 1)), name="message_seq_from_one"),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("kind", "app"), _negated=True), ("sender_did", ""), _connector="OR"),
                name="message_sender_of_handshakes_only",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.UniqueConstraint(fields=("convo", "seq"), name="proposal_one_row_an_entry"),
        ),
        migrations.AddConstraint(
            model_name="readditionrequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("answered_at__isnull", True)),
                fields=("convo", "did", "device_id"),
                name="readdition_request_one_open_a_device",
            ),
        ),
    ]
