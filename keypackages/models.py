import uuid
from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


def new_device_id() -> str:
    return str(uuid.uuid4())


class Device(models.Model):
    """One client of an account; its signature key is what ties leaves and packages to it."""

    id = models.CharField(primary_key=True, max_length=64, default=new_device_id)
    did = models.TextField()
    device_uuid = models.TextField(blank=True)
    name = models.TextField()
    signature_key = models.BinaryField()
    registered_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["did", "signature_key"], name="device_one_a_key", condition=Q(deleted_at__isnull=True)
            ),
            models.UniqueConstraint(
                fields=["did", "device_uuid"],
                name="device_one_a_uuid",
                condition=Q(deleted_at__isnull=True) & ~Q(device_uuid=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.did}"

    @property
    def mls_did(self) -> str:
        """The handle by which deployed clients name a device."""
        return f"{self.did}#{self.device_uuid or self.pk}"


class KeyPackage(models.Model):
    """A single-use package: available, then spent by the Welcome of a commit, then consumed."""

    did = models.TextField()
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="key_packages")
    reference = models.BinaryField()
    cipher_suite = models.TextField()
    body = models.BinaryField()
    last_resort = models.BooleanField(default=False)
    expires_at = models.DateTimeField()
    published_at = models.DateTimeField(db_default=Now())
    handed_out_at = models.DateTimeField(null=True)
    spent_at = models.DateTimeField(null=True)
    spent_in_convo = models.TextField(blank=True)
    consumed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["did", "reference"], name="key_package_one_row_a_reference"),
            models.CheckConstraint(
                name="key_package_consumed_after_spent",
                condition=Q(consumed_at__isnull=True) | Q(spent_at__isnull=False),
            ),
            models.CheckConstraint(
                name="key_package_spent_in_a_convo",
                condition=Q(spent_at__isnull=True, spent_in_convo="")
                | Q(spent_at__isnull=False) & ~Q(spent_in_convo=""),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["reference"], name="key_package_by_reference"),
            models.Index(
                F("device"),
                F("last_resort"),
                F("handed_out_at").asc(nulls_first=True),
                name="key_package_unspent",
                condition=Q(spent_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{bytes(self.reference).hex()[:16]} of {self.did}"


class State(models.TextChoices):
    WAITING = "waiting"
    FETCHED = "fetched"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


OPEN_STATES = (State.WAITING, State.FETCHED)


class WelcomeBody(models.Model):
    """The bytes of a Welcome, once a commit however many it lets in, with the tree of its epoch."""

    convo_id = models.TextField()
    epoch = models.PositiveBigIntegerField()
    body = models.BinaryField()
    ratchet_tree = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.convo_id} epoch {self.epoch}"


class Welcome(models.Model):
    """One device's way into a convo: the row stays for good, so that a used Welcome is answered alike for ever."""

    convo_id = models.TextField()
    did = models.TextField()
    device_id = models.TextField(blank=True)
    epoch = models.PositiveBigIntegerField()
    # Plain columns to the database: packages belong to an account, Welcomes to a convo, and the tables can live apart.
    key_package = models.ForeignKey(
        KeyPackage, on_delete=models.PROTECT, null=True, db_constraint=False, related_name="welcomes"
    )
    body = models.ForeignKey(WelcomeBody, on_delete=models.PROTECT, db_constraint=False, related_name="recipients")
    state = models.TextField(choices=State.choices, default=State.WAITING)
    created_at = models.DateTimeField(db_default=Now())
    first_fetched_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    reason = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="welcome_state_known", condition=Q(state__in=State.values)),
        ]
        indexes: ClassVar = [models.Index(fields=["convo_id", "did", "device_id"], name="welcome_of_a_device")]

    def __str__(self) -> str:
        return f"{self.convo_id} for {self.did} {self.state}"
