from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0003_push"),
    ]

    operations = [
        migrations.AddField(
            model_name="mailbox",
            name="read_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="mailbox",
            name="read_seq",
            field=models.PositiveBigIntegerField(default=0),
        ),
    ]
