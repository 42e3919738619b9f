"""What the loser of a race is told: enough to make its next commit from the answer alone."""

from collections.abc import Sequence

from django.db.models import QuerySet

from catbird_mls.compiled import compiled
from catbird_mls.xrpc.fields import wire_bytes
from conversations.errors import EpochMismatch
from conversations.models import Convo, Kind, Member, Message, Proposal
from conversations.shapes import commit_view, page_of

MISSED_COMMITS_MAX = 20
MISSED_BYTES_MAX = 1024 * 1024


def overtaken(convo: Convo, places: Sequence[Member], *, commit: bytes, made_for: int) -> EpochMismatch:
    """The refusal of a commit that was made for another epoch than the convo's, whose lock the caller holds.

    It tells the commits since, as far as the caller was a member for them; what is cut off ``getCommits`` gives
    from the cursor on. ``yours`` says that the winner was this very commit.
    """
    seen_from = min(place.joined_seq for place in places)
    since = Message.objects.filter(convo=convo, kind=Kind.COMMIT, epoch__gt=made_for, seq__gt=seen_from)
    missed, cut = page_of(since.order_by("epoch"), MISSED_COMMITS_MAX, MISSED_BYTES_MAX)
    more = {"cursor": str(missed[-1].epoch)} if cut else {}
    return EpochMismatch(
        f"The commit was made for epoch {made_for}, the conversation is at {convo.epoch}.",
        current_epoch=convo.epoch,
        lastSeq=convo.last_seq,
        missedCommits=[commit_view(entry) for entry in missed],
        pendingProposals=[wire_bytes(body) for body in bodies_of(pending_proposals(convo))],
        yours=any(bytes(entry.body) == commit for entry in missed),
        **more,
    )


def pending_proposals(convo: Convo) -> list[Proposal]:
    """The proposals of the current epoch, in the order of the log."""
    return [proposal for proposal in proposals_of(convo.pk) if proposal.epoch == convo.epoch]


def bodies_of(proposals: Sequence[Proposal]) -> list[bytes]:
    """The messages that proposals of one convo were made by."""
    if not proposals:
        return []
    return [bytes(body) for body in _bodies(proposals[0].convo_id, [proposal.seq for proposal in proposals])]


@compiled
def proposals_of(convo_id: str) -> QuerySet[Proposal]:
    return Proposal.objects.filter(convo_id=convo_id).order_by("seq")


@compiled
def _bodies(convo_id: str, seqs: Sequence[int]) -> QuerySet[Message, bytes | memoryview]:
    return Message.objects.filter(convo_id=convo_id, seq__any=seqs).order_by("seq").values_list("body", flat=True)
