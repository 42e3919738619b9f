import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

LEAVERS_HAVE_A_REASON = """
UPDATE conversations_member SET left_how = 'left' WHERE leaving_at IS NOT NULL AND left_at IS NULL;
"""
CONVO_FIRST = """
ALTER TABLE conversations_epoch DROP CONSTRAINT conversations_epoch_pkey;
ALTER TABLE conversations_epoch DROP CONSTRAINT epoch_begins_once;
ALTER TABLE conversations_epoch ADD CONSTRAINT epoch_begins_once PRIMARY KEY (convo_id, epoch);
CREATE INDEX epoch_ids ON conversations_epoch USING brin (id);

ALTER TABLE conversations_ban DROP CONSTRAINT conversations_ban_pkey;
ALTER TABLE conversations_ban ADD PRIMARY KEY (convo_id, id);
CREATE INDEX ban_ids ON conversations_ban (id);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0002_convo_first"),
    ]

    operations = [
        migrations.CreateModel(
            name="Ban",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("did", models.TextField()),
                ("banned_by", models.TextField()),
                ("banned_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("reason", models.TextField(blank=True)),
                ("lifted_by", models.TextField(blank=True)),
                ("lifted_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Epoch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("epoch", models.PositiveBigIntegerField()),
                ("seq", models.PositiveBigIntegerField()),
                ("nsid", models.TextField()),
                ("committer_did", models.TextField()),
                ("committer_device_id", models.TextField(blank=True)),
                ("added", models.JSONField(default=list)),
                ("removed", models.JSONField(default=list)),
                ("began_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name="GroupInfoRequest",
            fields=[
                (
                    "convo",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="group_info_request",
                        serialize=False,
                        to="conversations.convo",
                    ),
                ),
                ("cause", models.TextField()),
                ("since", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("asked", models.PositiveIntegerField(default=0)),
                ("last_asked", models.TextField(blank=True)),
                ("next_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "GroupInfo request",
            },
        ),
        migrations.RemoveConstraint(
            model_name="member",
            name="member_left_completely",
        ),
        migrations.RunSQL(LEAVERS_HAVE_A_REASON, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="groupstate",
            name="checked_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="groupstate",
            name="fault",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="proposal",
            name="required",
            field=models.BooleanField(default=False),
        ),
        migrations.AddConstraint(
            model_name="member",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("left_at__isnull", True), ("left_epoch__isnull", True), ("left_seq__isnull", True)),
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
            model_name="member",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("left_at__isnull", False),
                    models.Q(("leaving_at__isnull", True), ("left_how", "")),
                    models.Q(("leaving_at__isnull", False), models.Q(("left_how", ""), _negated=True)),
                    _connector="OR",
                ),
                name="member_here_without_a_reason_to_go",
            ),
        ),
        migrations.AddField(
            model_name="ban",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="bans",
                to="conversations.convo",
            ),
        ),
        migrations.AddField(
            model_name="epoch",
            name="convo",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="epochs",
                to="conversations.convo",
            ),
        ),
        migrations.AddIndex(
            model_name="groupinforequest",
            index=models.Index(fields=["next_at"], name="group_info_requests_due"),
        ),
        migrations.AddConstraint(
            model_name="ban",
            constraint=models.UniqueConstraint(
                condition=models.Q(("lifted_at__isnull", True)), fields=("convo", "did"), name="ban_one_open_an_account"
            ),
        ),
        migrations.AddConstraint(
            model_name="epoch",
            constraint=models.UniqueConstraint(fields=("convo", "epoch"), name="epoch_begins_once"),
        ),
        migrations.RunSQL(CONVO_FIRST, migrations.RunSQL.noop),
    ]
