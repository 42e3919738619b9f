from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from catbird_mls.xrpc.errors import NotMember
from conversations.additions import Addition, addition_id, pending_additions
from conversations.errors import NotClaimed
from conversations.locks import locked_convo
from conversations.models import ADDITION_LEASE_SECONDS, AdditionClaim
from conversations.selectors import Asking, active_members, convos_of_account, require_member
from keypackages.selectors import KeyPackageRef, key_package_ref
from keypackages.services import hand_out_for_device


@dataclass(frozen=True, slots=True)
class ClaimedAddition:
    addition: Addition
    package: KeyPackageRef


def claim_addition(*, who: Asking, pending_addition_id: str) -> ClaimedAddition | None:
    """The caller will add this device within the minute. None when another member has said so already."""
    addition = _require_addition(who, pending_addition_id)
    with locked_convo(addition.convo_id) as convo:
        require_member(convo.pk, who)
        now = timezone.now()
        package = key_package_ref(hand_out_for_device(addition.device.device_id))
        claim = AdditionClaim.objects.filter(convo=convo, device_id=addition.device.device_id).first()
        if claim and claim.claimed_by != who.did and claim.claimed_at > now - timedelta(seconds=ADDITION_LEASE_SECONDS):
            return None
        AdditionClaim.objects.update_or_create(
            convo=convo,
            device_id=addition.device.device_id,
            defaults={"claimed_by": who.did, "claimed_at": now, "completed_at": None},
        )
    return ClaimedAddition(addition, package)


def complete_addition(*, who: Asking, pending_addition_id: str, new_epoch: int) -> None:
    """The caller has added the device it claimed, which the roster must bear out. Said twice it changes nothing."""
    claim = _require_claim(who, pending_addition_id)
    with locked_convo(claim.convo_id) as convo:
        require_member(convo.pk, who)
        added = active_members(convo.pk).filter(device_id=claim.device_id).exists()
        if not added or new_epoch > convo.epoch:
            raise NotClaimed("The device is not in the conversation yet.")
        AdditionClaim.objects.filter(pk=claim.pk, completed_at__isnull=True).update(completed_at=timezone.now())


def _require_addition(who: Asking, pending_addition_id: str) -> Addition:
    for addition in pending_additions(convos_of_account(who.did)):
        if addition.id == pending_addition_id:
            return addition
    raise NotMember


def _require_claim(who: Asking, pending_addition_id: str) -> AdditionClaim:
    for claim in AdditionClaim.objects.filter(claimed_by=who.did, convo_id__in=convos_of_account(who.did)):
        if addition_id(claim.convo_id, claim.device_id) == pending_addition_id:
            return claim
    raise NotClaimed("You have not claimed this addition.")
