from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class Mailbox(models.Model):
    """A device's right to read a convo's log, from one seq on and, once it has left, up to another.

    ``acked_seq`` is how far the device has told us it has got. A device that comes back gets a further row.
    """

    convo_id = models.TextField()
    did = models.TextField()
    device_id = models.TextField(blank=True)
    first_seq = models.PositiveBigIntegerField()
    last_seq = models.PositiveBigIntegerField(null=True)
    acked_seq = models.PositiveBigIntegerField(default=0)
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
    """An accepted entry that is not yet turned into envelopes."""

    convo_id = models.TextField()
    seq = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

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

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["convo_id", "did", "device_id"], name="envelope_one_a_device"),
            models.CheckConstraint(name="envelope_span_not_empty", condition=Q(first_seq__lte=F("last_seq"))),
        ]

    def __str__(self) -> str:
        return f"{self.convo_id} #{self.first_seq}-{self.last_seq} for {self.did}"
