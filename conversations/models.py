from typing import ClassVar

from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Cast, Now

CONVO_ID_MAX_LENGTH = 128
MSG_ID_MAX_LENGTH = 64


class Mode(models.TextChoices):
    TRACKED = "tracked"
    OPAQUE = "opaque"


class Kind(models.TextChoices):
    APP = "app"
    COMMIT = "commit"
    PROPOSAL = "proposal"


class Left(models.TextChoices):
    """How a member's place ended."""

    LEFT = "left"
    REMOVED = "removed"


class Convo(models.Model):
    """One MLS group and its log; the row whose lock orders everything."""

    id = models.CharField(primary_key=True, max_length=CONVO_ID_MAX_LENGTH)
    group_id = models.BinaryField()
    creator_did = models.TextField()
    cipher_suite = models.TextField()
    mode = models.TextField(choices=Mode.choices)
    epoch = models.PositiveBigIntegerField()
    last_seq = models.PositiveBigIntegerField(default=0)
    # The last place, and the last epoch that began, of which retention has dropped the entry.
    purged_seq = models.PositiveBigIntegerField(default=0)
    purged_epoch = models.PositiveBigIntegerField(null=True)
    name = models.TextField(blank=True)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())
    last_message_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    # Who sent what the transaction that holds this convo has appended; a roster that changes without has no author.
    author: str | None = None

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="convo_mode_known", condition=Q(mode__in=Mode.values)),
        ]

    def __str__(self) -> str:
        return self.id


class Member(models.Model):
    """One device's place in a convo; the row stays when the place ends.

    ``device_id`` is empty for an account of an opaque convo whose device is not known.
    ``leaf_index`` is set in tracked convos, where the open rows are the leaves of the ratchet tree.
    A member that is *leaving* has lost access, and ``left_how`` says why; it keeps its leaf until somebody
    commits its removal.
    """

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="members")
    did = models.TextField()
    device_id = models.TextField(blank=True)
    leaf_index = models.PositiveIntegerField(null=True)
    is_admin = models.BooleanField(default=False)
    is_moderator = models.BooleanField(default=False)
    promoted_at = models.DateTimeField(null=True)
    promoted_by = models.TextField(blank=True)
    joined_seq = models.PositiveBigIntegerField()
    joined_epoch = models.PositiveBigIntegerField()
    joined_at = models.DateTimeField(db_default=Now())
    leaving_at = models.DateTimeField(null=True)
    left_seq = models.PositiveBigIntegerField(null=True)
    left_epoch = models.PositiveBigIntegerField(null=True)
    left_at = models.DateTimeField(null=True)
    left_how = models.TextField(blank=True, choices=Left.choices)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["convo", "did", "device_id"],
                name="member_one_place_a_device",
                condition=Q(left_at__isnull=True, leaving_at__isnull=True),
            ),
            models.UniqueConstraint(
                fields=["convo", "leaf_index"],
                name="member_one_open_row_a_leaf",
                condition=Q(left_at__isnull=True, leaf_index__isnull=False),
            ),
            models.CheckConstraint(
                name="member_left_completely",
                condition=Q(left_at__isnull=True, left_seq__isnull=True, left_epoch__isnull=True)
                | Q(left_at__isnull=False, left_seq__gte=F("joined_seq"), left_epoch__isnull=False) & ~Q(left_how=""),
            ),
            models.CheckConstraint(
                name="member_here_without_a_reason_to_go",
                condition=Q(left_at__isnull=False)
                | Q(leaving_at__isnull=True, left_how="")
                | Q(leaving_at__isnull=False) & ~Q(left_how=""),
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["did", "convo"], name="member_convos_of_an_account")]

    def __str__(self) -> str:
        return f"{self.did} {self.device_id or 'account'} in {self.convo_id}"


class Message(models.Model):
    """One entry of a convo's log: an application message, a commit or a proposal.

    An application message keeps no sender: ``sender_tag`` is a keyed hash of DID and msg_id that tells
    a repeated request from a clash. A commit's epoch is the one it leads to.
    """

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="messages")
    seq = models.PositiveBigIntegerField()
    epoch = models.PositiveBigIntegerField()
    kind = models.TextField(choices=Kind.choices)
    msg_id = models.CharField(max_length=MSG_ID_MAX_LENGTH)
    sender_tag = models.BinaryField()
    sender_did = models.TextField(blank=True)
    body = models.BinaryField()
    size = models.PositiveIntegerField()
    received_at = models.DateTimeField(db_default=Now())
    # Which transaction wrote the row: with PostgreSQL's snapshot horizon it gives the cursor over all
    # convos of a device, which ids that are handed out before commit cannot.
    transaction = models.BigIntegerField(
        db_default=Cast(
            Cast(Func(function="pg_current_xact_id"), output_field=models.TextField()),
            output_field=models.BigIntegerField(),
        )
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["convo", "seq"], name="message_one_entry_a_place"),
            models.UniqueConstraint(fields=["convo", "msg_id"], name="message_one_entry_an_id"),
            models.UniqueConstraint(
                fields=["convo", "epoch"], name="message_one_commit_an_epoch", condition=Q(kind=Kind.COMMIT)
            ),
            models.CheckConstraint(name="message_seq_from_one", condition=Q(seq__gte=1)),
            models.CheckConstraint(
                name="message_sender_of_handshakes_only", condition=~Q(kind=Kind.APP) | Q(sender_did="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.convo_id} #{self.seq} {self.kind}"


class GroupState(models.Model):
    """The public half of a convo's MLS group, as RFC 9420 encodings and nothing else.

    A tracked convo always has one, of the convo's epoch. ``group_info`` is as uploaded. ``fault`` is the code
    that a joiner's engine would give, empty when a device was found able to join.
    """

    convo = models.OneToOneField(Convo, on_delete=models.PROTECT, primary_key=True, related_name="state")
    epoch = models.PositiveBigIntegerField()
    ratchet_tree = models.BinaryField()
    group_context = models.BinaryField()
    confirmation_tag = models.BinaryField()
    group_info = models.BinaryField()
    updated_at = models.DateTimeField(auto_now=True)
    checked_at = models.DateTimeField(null=True)
    fault = models.TextField(blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["updated_at"], name="group_state_unchecked", condition=Q(checked_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.convo_id} at epoch {self.epoch}"


class Proposal(models.Model):
    """A proposal of a tracked convo's current epoch, dropped when the epoch ends; its bytes are in the log.

    A ``required`` one is the removal of a leaf that has to go: no commit may leave it out.
    """

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="proposals")
    seq = models.PositiveBigIntegerField()
    epoch = models.PositiveBigIntegerField()
    reference = models.BinaryField()
    removes_leaf = models.PositiveIntegerField(null=True)
    required = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["convo", "seq"], name="proposal_one_row_an_entry")]

    def __str__(self) -> str:
        return f"{self.convo_id} #{self.seq}"


class Epoch(models.Model):
    """How an epoch of a convo began: who committed, by which method, who came and who went.

    ``added`` and ``removed`` are lists of ``[did, device_id, leaf_index]``.
    """

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="epochs")
    epoch = models.PositiveBigIntegerField()
    seq = models.PositiveBigIntegerField()
    nsid = models.TextField()
    committer_did = models.TextField()
    committer_device_id = models.TextField(blank=True)
    added = models.JSONField(default=list)
    removed = models.JSONField(default=list)
    began_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["convo", "epoch"], name="epoch_begins_once")]

    def __str__(self) -> str:
        return f"{self.convo_id} epoch {self.epoch}"


class Ban(models.Model):
    """An account that may not be in a convo, whoever would let it in, until somebody lifts it."""

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="bans")
    did = models.TextField()
    banned_by = models.TextField()
    banned_at = models.DateTimeField(db_default=Now())
    reason = models.TextField(blank=True)
    lifted_by = models.TextField(blank=True)
    lifted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["convo", "did"], name="ban_one_open_an_account", condition=Q(lifted_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.did} from {self.convo_id}"


class GroupInfoRequest(models.Model):
    """A convo that nobody could join by an external commit: its members are asked for a GroupInfo, one by one."""

    convo = models.OneToOneField(Convo, on_delete=models.PROTECT, primary_key=True, related_name="group_info_request")
    cause = models.TextField()
    since = models.DateTimeField(db_default=Now())
    asked = models.PositiveIntegerField(default=0)
    last_asked = models.TextField(blank=True)
    next_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "GroupInfo request"
        indexes: ClassVar = [models.Index(fields=["next_at"], name="group_info_requests_due")]

    def __str__(self) -> str:
        return f"{self.convo_id}: {self.cause}"


class Answer(models.Model):
    """The first answer to a procedure, written with its effect, so that asking twice changes nothing."""

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="answers")
    did = models.TextField()
    nsid = models.TextField()
    key = models.CharField(max_length=MSG_ID_MAX_LENGTH)
    digest = models.BinaryField()
    answer = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["convo", "did", "nsid", "key"], name="answer_one_a_key")
        ]

    def __str__(self) -> str:
        return f"{self.nsid} {self.key}"


ADDITION_LEASE_SECONDS = 60


class AdditionClaim(models.Model):
    """A member's word that it will add a new device of another member; the word lapses after a minute.

    Which devices wait to be added is not kept: it is what the directory and the roster say.
    """

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="addition_claims")
    device_id = models.TextField()
    claimed_by = models.TextField()
    claimed_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["convo", "device_id"], name="addition_claim_one_a_device")
        ]

    def __str__(self) -> str:
        return f"{self.device_id} into {self.convo_id}"


class ReadditionRequest(models.Model):
    """A device that is in the roster and cannot get in: some member is to remove its leaf and add it again."""

    convo = models.ForeignKey(Convo, on_delete=models.PROTECT, db_index=False, related_name="readdition_requests")
    did = models.TextField()
    device_id = models.TextField(blank=True)
    requested_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "re-adding request"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["convo", "did", "device_id"],
                name="readdition_request_one_open_a_device",
                condition=Q(answered_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.did} into {self.convo_id}"


class Rollout(models.Model):
    """How far a feature is switched on: for a percentage of accounts, and for some in any case.

    Read at every use, so that a change holds at once in every process.
    """

    name = models.TextField(primary_key=True)
    percent = models.PositiveSmallIntegerField()
    internal_dids = models.TextField(blank=True, help_text="Accounts that always have it, one a line.")

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="rollout_percent", condition=Q(percent__lte=100))]

    def __str__(self) -> str:
        return f"{self.name} {self.percent} %"


class RejoinAttempt(models.Model):
    """Somebody tried to come back: who, how, when, and what became of it; never the bytes."""

    EXTERNAL, REQUEST = "external commit", "request"

    way = models.TextField()
    convo_id = models.TextField()
    did = models.TextField()
    device_id = models.TextField(blank=True)
    made_at = models.DateTimeField(db_default=Now())
    outcome = models.TextField()
    epoch = models.PositiveBigIntegerField(null=True)
    size = models.PositiveIntegerField(default=0)
    digest = models.BinaryField(default=b"")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["convo_id", "did", "made_at"], name="rejoin_attempts")]

    def __str__(self) -> str:
        return f"{self.did} into {self.convo_id}: {self.outcome}"
