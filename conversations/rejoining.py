"""Who may come back into a convo by itself."""

import hashlib
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from catbird_mls.xrpc.errors import RateLimitExceeded
from conversations.errors import Unauthorized
from conversations.models import Convo, Left, Member, RejoinAttempt, Rollout

EXTERNAL_COMMITS = "external_commits_enabled"
REJOIN_WITHIN = timedelta(days=30)
ATTEMPTS_WITHIN = timedelta(hours=1)


def verify_can_rejoin(convo: Convo | None, did: str) -> bool:
    """Whether an account may come back: a member, or one that left by itself no more than 30 days ago.

    Whoever was removed by others needs to be invited again. The account's latest place decides.
    """
    if convo is None or convo.closed_at is not None or not external_commits_enabled(did):
        return False
    places = list(Member.objects.filter(convo=convo, did=did).order_by("pk"))
    if any(place.left_at is None and place.leaving_at is None for place in places):
        return True
    if not places or any(place.left_how == Left.REMOVED for place in places[-1:]):
        return False
    ended = places[-1].left_at or places[-1].leaving_at
    return ended is not None and timezone.now() - ended <= REJOIN_WITHIN


def require_can_rejoin(convo: Convo | None, did: str) -> Convo:
    if convo is None or not verify_can_rejoin(convo, did):
        raise Unauthorized
    return convo


def external_commits_enabled(did: str) -> bool:
    """The same answer for an account at every percentage from its own number on."""
    rollout = Rollout.objects.filter(name=EXTERNAL_COMMITS).first()
    if rollout is None:
        return _share(did) < settings.CATBIRD_EXTERNAL_COMMITS_PERCENT
    return did in rollout.internal_dids.split() or _share(did) < rollout.percent


def require_attempts_left(convo_id: str, did: str, *, way: str, limit: int) -> None:
    """Coming back costs the others work, so an account may try it only so often an hour in one convo."""
    since = timezone.now() - ATTEMPTS_WITHIN
    made = RejoinAttempt.objects.filter(convo_id=convo_id, did=did, way=way, made_at__gt=since).count()
    if made >= limit:
        raise RateLimitExceeded("Too many attempts to come back.", retry_after=int(ATTEMPTS_WITHIN.total_seconds()))


def _share(did: str) -> int:
    """A number from 0 to 99 that belongs to the account."""
    digest = hashlib.sha256(f"{EXTERNAL_COMMITS} {did}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100
