from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class Mailbox(models.Model):
    """A device's right to read a convo's log, from one seq on and, once it has left, up to another.

    ``acked_seq`` is how far the device has told us it has got, ``read_seq`` how far its account has read. A device
    that comes back gets a further row.
    """

    convo_id = models.TextField()
    did = models.TextField()
    device_id = models.TextField(blank=True)
    first_seq = models.PositiveBigIntegerField()
    last_seq = models.PositiveBigIntegerField(null=True)
    acked_seq = models.PositiveBigIntegerField(default=0)
    read_seq = models.PositiveBigIntegerField(default=0)
    read_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "mailboxes"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["convo_id", "did", "device_id"],
                name="mailbox_one_open_a_device",
                condition=Q(closed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="mailbox_closed_completely",
                condition=Q(closed_at__isnull=True, last_seq__isnull=True)
                | Q(closed_at__isnull=False, last_seq__gte=F("first_seq") - 1),
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["did", "convo_id"], name="mailbox_of_an_account")]

    def __str__(self) -> str:
        return f"{self.did} {self.device_id or 'account'} reads {self.convo_id} from {self.first_seq}"


class Dispatch(models.Model):
    """An accepted entry that is not yet turned into envelopes; with a ``fault`` it could not be, and waits."""

    convo_id = models.TextField()
    seq = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    fault = models.TextField(blank=True, db_default="")
    held_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "dispatches"
        constraints: ClassVar = [models.UniqueConstraint(fields=["convo_id", "seq"], name="dispatch_one_an_entry")]

    def __str__(self) -> str:
        return f"{self.convo_id} #{self.seq}"


class Envelope(models.Model):
    """The span of a convo's log that a device has not acknowledged."""

    convo_id = models.TextField()
    did = models.TextField()
    device_id = models.TextField(blank=True)
    first_seq = models.PositiveBigIntegerField()
    last_seq = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    extended_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["convo_id", "did", "device_id"], name="envelope_one_a_device"),
            models.CheckConstraint(name="envelope_span_not_empty", condition=Q(first_seq__lte=F("last_seq"))),
        ]

    def __str__(self) -> str:
        return f"{self.convo_id} #{self.first_seq}-{self.last_seq} for {self.did}"


class Platform(models.TextChoices):
    IOS = "ios"
    ANDROID = "android"
    WEB = "web"


class PushToken(models.Model):
    """Where a provider finds a device: a secret, of which people see the fingerprint only."""

    did = models.TextField()
    device_id = models.TextField()
    platform = models.TextField(choices=Platform.choices)
    # Bytes, which no page of staff shows or loads.
    token = models.BinaryField()
    fingerprint = models.TextField()
    registered_at = models.DateTimeField(db_default=Now())
    pushed_at = models.DateTimeField(null=True)
    outcome = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["did", "device_id", "platform"], name="push_token_one_a_platform"),
            models.UniqueConstraint(fields=["token", "platform"], name="push_token_of_one_device"),
            models.CheckConstraint(name="push_token_platform_known", condition=Q(platform__in=Platform.values)),
        ]

    def __str__(self) -> str:
        return f"{self.platform} {self.fingerprint} of {self.did}"


class Nudge(models.Model):
    """One push for a device: due, then sent or given up, and so it stays until the device is heard of.

    ``asked`` is sent although no envelope waits, ``quiet`` without telling the person. Whoever works on a
    row has made ``claim`` one higher, and changes it only while it is still that number.
    """

    did = models.TextField()
    device_id = models.TextField()
    asked = models.BooleanField(default=False)
    quiet = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(null=True, db_default=Now())
    claim = models.PositiveBigIntegerField(db_default=0)
    attempts = models.PositiveIntegerField(db_default=0)
    connected_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    cause = models.TextField(blank=True, db_default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["did", "device_id"], name="nudge_one_a_device"),
            models.CheckConstraint(
                name="nudge_due_or_done",
                condition=Q(due_at__isnull=False) | Q(sent_at__isnull=False) | Q(given_up_at__isnull=False),
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="nudge_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return f"nudge of {self.did} {self.device_id}"
