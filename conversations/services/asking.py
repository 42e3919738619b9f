"""A device asks the others for help: to be let in anew, or for a fresh GroupInfo."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.utils import timezone

from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.meters import count_fallback
from conversations.doors import want_group_info
from conversations.errors import NoActiveMembers
from conversations.hints import readdition_hint
from conversations.locks import locked_convo
from conversations.models import Convo, GroupState, ReadditionRequest, RejoinAttempt
from conversations.rejoining import require_attempts_left, require_may_return
from conversations.selectors import Asking, active_members, require_member
from delivery.hub import Hint
from delivery.services import carry_hint
from keypackages.services import publish_key_package, reject_welcome
from keypackages.services.packages import KeyPackageItem

REQUEST_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Asked:
    """An open request, and how many others may answer it."""

    request_id: str
    active_members: int


def ask_for_readdition(*, convo_id: str, who: Asking, method: Literal["readdition", "rejoin"] = "readdition") -> Asked:
    """Ask the members to let the caller in anew. While the request is open, asking again announces it again."""
    require_may_return(Convo.objects.filter(pk=convo_id).first(), who.did)
    with locked_convo(convo_id) as convo:
        require_may_return(convo, who.did)
        require_attempts_left(convo_id, who.did, way=RejoinAttempt.REQUEST, limit=settings.RATE_LIMIT_REJOIN)
        others = active_members(convo.pk).exclude(did=who.did).values("did").distinct().count()
        if others == 0:
            raise NoActiveMembers("Nobody else is in the conversation.")
        request, _ = ReadditionRequest.objects.get_or_create(
            convo=convo, did=who.did, device_id=who.device_id or "", answered_at=None
        )
        request.refresh_from_db(from_queryset=convo.readdition_requests.all())
        RejoinAttempt.objects.create(
            way=RejoinAttempt.REQUEST, convo_id=convo_id, did=who.did, device_id=who.device_id or "", outcome="asked"
        )
        carry_hint(readdition_hint(request))
        count_fallback(method)
    return Asked(str(request.pk), others)


def ask_to_rejoin(*, convo_id: str, who: Asking, item: KeyPackageItem) -> Asked:
    """The same with a fresh key package, which goes into the directory for whoever answers."""
    require_may_return(Convo.objects.filter(pk=convo_id).first(), who.did)
    require_attempts_left(convo_id, who.did, way=RejoinAttempt.REQUEST, limit=settings.RATE_LIMIT_REJOIN)
    publish_key_package(did=who.did, item=item)
    return ask_for_readdition(convo_id=convo_id, who=who, method="rejoin")


def ask_for_group_info(*, convo_id: str, who: Asking) -> int:
    """Ask the members for a fresh GroupInfo; says how many may answer.

    Where no device could join without one, the members are asked until one answers.
    """
    convo = require_may_return(Convo.objects.filter(pk=convo_id).first(), who.did)
    if not GroupState.objects.filter(convo=convo, epoch=convo.epoch, fault="").exists():
        want_group_info(convo.pk, "asked for by a device that cannot join")
    fields = {"convoId": convo.pk, "requestedBy": who.did, "requestedAt": wire_time(timezone.now())}
    carry_hint(Hint("groupInfoRefreshRequestedEvent", fields, convo_id=convo.pk, not_for=who.did))
    return active_members(convo.pk).exclude(did=who.did).values("did").distinct().count()


def give_up_welcome(*, convo_id: str, who: Asking, reason: str) -> int | None:
    """The caller cannot use its Welcome, whatever is tried; the Welcome's number, or None when there is none."""
    require_member(convo_id, who)
    return reject_welcome(convo_id=convo_id, did=who.did, device_id=who.device_id, reason=reason)


def drop_old_requests() -> int:
    """Requests that nobody has answered within a week are dropped; their devices may ask again."""
    old = timezone.now() - REQUEST_LIFETIME
    dropped, _ = ReadditionRequest.objects.filter(answered_at__isnull=True, requested_at__lt=old).delete()
    return dropped
