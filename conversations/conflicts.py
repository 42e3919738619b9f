"""What the loser of a race is told: enough to make its next commit from the answer alone."""

from collections.abc import Sequence

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
        pendingProposals=[wire_bytes(body) for body in pending_proposals(convo)],
        yours=any(bytes(entry.body) == commit for entry in missed),
        **more,
    )


def pending_proposals(convo: Convo) -> list[bytes]:
    """The proposal messages of the current epoch, in the order of the log."""
    waiting = Proposal.objects.filter(convo=convo, epoch=convo.epoch).values("seq")
    bodies = Message.objects.filter(convo=convo, seq__in=waiting).order_by("seq").values_list("body", flat=True)
    return [bytes(body) for body in bodies]
