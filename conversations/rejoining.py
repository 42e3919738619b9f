"""Who may come back into a convo by itself."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from catbird_mls.compiled import compiled
from catbird_mls.xrpc.errors import RateLimitExceeded
from conversations.errors import EpochMismatch, Unauthorized
from conversations.models import Ban, Convo, Left, Member, RejoinAttempt, Rollout

EXTERNAL_COMMITS = "external_commits_enabled"
REJOIN_WITHIN = timedelta(days=30)
ATTEMPTS_WITHIN = timedelta(hours=1)


def verify_can_rejoin(convo: Convo | None, did: str) -> bool:
    """Whether an account may come back: a member, or one that left by itself no more than 30 days ago.

    Whoever was removed by others needs to be invited again, and whoever is banned stays out. What happened to the
    account last decides, whichever of its devices it happened to.
    """
    return external_commits_enabled(did) and may_return(convo, did)


def may_return(convo: Convo | None, did: str) -> bool:
    """The same for somebody who asks the members to be let in, which no rollout switches off."""
    if convo is None or convo.closed_at is not None:
        return False
    if bans_of(convo.pk, [did]):
        return False
    places = places_ever(convo.pk, did)
    ends = [place.leaving_at or place.left_at for place in places]
    if None in ends:
        return True
    last = max((end for end in ends if end is not None), default=None)
    if last is None or timezone.now() - last > REJOIN_WITHIN:
        return False
    return not any(place.left_how == Left.REMOVED for place, end in zip(places, ends, strict=True) if end == last)


def open_bans(convo_id: str) -> QuerySet[Ban]:
    return Ban.objects.filter(convo_id=convo_id, lifted_at__isnull=True)


@compiled
def bans_of(convo_id: str, dids: Sequence[str]) -> QuerySet[Ban, str]:
    """Those of these accounts that are banned."""
    return open_bans(convo_id).filter(did__any=dids).order_by("did").values_list("did", flat=True)


@compiled
def places_ever(convo_id: str, did: str) -> QuerySet[Member]:
    return Member.objects.filter(convo_id=convo_id, did=did)


def require_can_rejoin(convo: Convo | None, did: str) -> Convo:
    if convo is None or not verify_can_rejoin(convo, did):
        raise Unauthorized
    return convo


def require_may_return(convo: Convo | None, did: str) -> Convo:
    if convo is None or not may_return(convo, did):
        raise Unauthorized
    return convo


def external_commits_enabled(did: str) -> bool:
    """The same answer for an account at every percentage from its own number on."""
    rollout = next(iter(rollouts(EXTERNAL_COMMITS)), None)
    if rollout is None:
        return _share(did) < settings.CATBIRD_EXTERNAL_COMMITS_PERCENT
    return did in rollout.internal_dids.split() or _share(did) < rollout.percent


@compiled
def rollouts(name: str) -> QuerySet[Rollout]:
    return Rollout.objects.filter(name=name)


def require_attempts_left(convo_id: str, did: str, *, way: str, limit: int) -> None:
    """Coming back costs the others work, so an account may try it only so often an hour in one convo.

    Who lost a race has cost nobody anything, and tries again from the answer.
    """
    since = timezone.now() - ATTEMPTS_WITHIN
    outcomes = _outcomes(convo_id, did, way, since)
    if len(outcomes) - outcomes.count(EpochMismatch.__name__) >= limit:
        raise RateLimitExceeded("Too many attempts to come back.", retry_after=int(ATTEMPTS_WITHIN.total_seconds()))


@compiled
def _outcomes(convo_id: str, did: str, way: str, since: datetime) -> QuerySet[RejoinAttempt, str]:
    made = RejoinAttempt.objects.filter(convo_id=convo_id, did=did, way=way, made_at__gt=since)
    return made.values_list("outcome", flat=True)


def _share(did: str) -> int:
    """A number from 0 to 99 that belongs to the account."""
    digest = hashlib.sha256(f"{EXTERNAL_COMMITS} {did}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100
