"""What mends a Welcome that does not arrive: pressed twice, each is harmless."""

from collections.abc import Sequence

from django.db import transaction

from conversations.hints import readdition_hint
from conversations.locks import locked_convo
from conversations.models import Convo, ReadditionRequest
from conversations.selectors import active_members
from delivery.hub import Hint
from delivery.services import carry_hint, nudge_device, ring_again
from keypackages.selectors import DeviceRef
from keypackages.services import (
    StuckWelcome,
    claim_low_stock,
    claim_rings,
    note_epoch,
    note_rings,
    supersede_welcomes,
    unsettled_convos,
)


def ring_for_welcomes(welcomes: Sequence[StuckWelcome]) -> int:
    """Wake the devices of these Welcomes, by a push if they are not connected, and note that it was done."""
    with transaction.atomic(durable=True):
        note_rings(welcomes)
        for welcome in welcomes:
            _ring(welcome)
    return len(welcomes)


def ask_for_readding(welcomes: Sequence[StuckWelcome]) -> int:
    """End these Welcomes and ask the members to let their devices in anew; says how many devices that concerns."""
    return sum(_ask_for_one(welcome) for welcome in welcomes)


def ring_for_waiting() -> int:
    """Ring again for whatever waits too long."""
    return len(claim_rings(_ring))


def note_epochs() -> None:
    """How far the convos of Welcomes that wait have moved on, worked out beside the commits that move them."""
    moved = Convo.objects.filter(pk__in=unsettled_convos()).values_list("pk", "epoch")
    for convo_id, epoch in moved:
        note_epoch(convo_id=convo_id, epoch=epoch)


def notice_low_stock() -> int:
    """Tell devices that run out of packages, at most once a day each."""
    return len(claim_low_stock(_tell_of_low_stock))


def _tell_of_low_stock(device: DeviceRef) -> None:
    carry_hint(Hint("infoEvent", {"info": "LowKeyPackages"}, did=device.did, device_id=device.device_id))
    nudge_device(did=device.did, device_id=device.device_id, quiet=True)


def _ask_for_one(welcome: StuckWelcome) -> bool:
    with locked_convo(welcome.convo_id) as convo:
        mine = active_members(convo.pk).filter(did=welcome.did, device_id=welcome.device_id)
        supersede_welcomes(convo_id=convo.pk, did=welcome.did, device_id=welcome.device_id, reason="to be added again")
        if not mine.exists():
            return False
        request, _ = ReadditionRequest.objects.get_or_create(
            convo=convo, did=welcome.did, device_id=welcome.device_id, answered_at=None
        )
        request.refresh_from_db(from_queryset=convo.readdition_requests.all())
        carry_hint(readdition_hint(request))
    return True


def _ring(welcome: StuckWelcome) -> None:
    ring_again(welcome.convo_id)
    carry_hint(_welcome_hint(welcome))
    nudge_device(did=welcome.did, device_id=welcome.device_id)


def _welcome_hint(welcome: StuckWelcome) -> Hint:
    fields = {"info": "WelcomeWaiting", "convoId": welcome.convo_id}
    return Hint("infoEvent", fields, did=welcome.did, device_id=welcome.device_id or None)
