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
    low_stock_noticed_at = models.DateTimeField(null=True)
    # Set when joining has failed so often that only another way in can help.
    needs_recovery_at = models.DateTimeField(null=True)

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
    spent_by_device = models.TextField(blank=True)
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
            models.Index(fields=["expires_at"], name="key_package_by_end"),
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
# An expired Welcome lets nobody in, but its device still waits for another way.
UNSETTLED_STATES = (*OPEN_STATES, State.EXPIRED)


class OptIn(models.Model):
    """Whether an account may be invited; an account that never said so may be."""

    did = models.TextField(primary_key=True)
    opted_in = models.BooleanField()
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.did} {'in' if self.opted_in else 'out'}"


class DailyCount(models.Model):
    """What happened to an account's packages on one day; outlives the packages.

    Of a day that is not over there are many rows, which are to be added up.
    """

    did = models.TextField()
    cipher_suite = models.TextField()
    day = models.DateField()
    published = models.PositiveIntegerField(default=0)
    spent = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["did", "day"], name="daily_count_of_an_account")]

    def __str__(self) -> str:
        return f"{self.did} {self.day}"


class WelcomeBody(models.Model):
    """The bytes of a Welcome, once a commit however many it lets in, with the tree of its epoch."""

    convo_id = models.TextField()
    epoch = models.PositiveBigIntegerField()
    body = models.BinaryField()
    ratchet_tree = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "Welcome bodies"

    def __str__(self) -> str:
        return f"{self.convo_id} epoch {self.epoch}"


class Welcome(models.Model):
    """One device's way into a convo: the row stays for good, so that a used Welcome is answered alike for ever."""

    convo_id = models.TextField()
    did = models.TextField()
    device_id = models.TextField(blank=True)
    epoch = models.PositiveBigIntegerField()
    # The KeyPackageRef it was made for; empty where the Welcome names an account and no package.
    reference = models.BinaryField()
    # Plain columns to the database: packages belong to an account, Welcomes to a convo, and the tables can live apart.
    key_package = models.ForeignKey(
        KeyPackage, on_delete=models.SET_NULL, null=True, db_constraint=False, related_name="welcomes"
    )
    body = models.ForeignKey(
        WelcomeBody, on_delete=models.SET_NULL, null=True, db_constraint=False, related_name="recipients"
    )
    # How far the convo has moved while this way in was open.
    convo_epoch = models.PositiveBigIntegerField()
    state = models.TextField(choices=State.choices, default=State.WAITING)
    created_at = models.DateTimeField(db_default=Now())
    first_fetched_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    rung_at = models.DateTimeField(null=True)
    rings = models.PositiveIntegerField(default=0)
    reason = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="welcome_state_known", condition=Q(state__in=State.values)),
        ]
        indexes: ClassVar = [
            models.Index(fields=["convo_id", "did", "device_id"], name="welcome_of_a_device"),
            models.Index(fields=["created_at"], name="welcome_unsettled", condition=Q(state__in=UNSETTLED_STATES)),
        ]

    def __str__(self) -> str:
        return f"{self.convo_id} for {self.did} {self.state}"
