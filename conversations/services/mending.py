"""What mends a Welcome that does not arrive: pressed twice, each is harmless."""

from collections.abc import Sequence

from django.db import transaction

from conversations.hints import readdition_hint
from conversations.locks import locked_convo
from conversations.models import ReadditionRequest
from conversations.selectors import active_members
from delivery.hub import Hint
from delivery.services import carry_hint, ring_again
from keypackages.services import StuckWelcome, claim_low_stock, claim_rings, note_rings, supersede_welcomes


def ring_for_welcomes(welcomes: Sequence[StuckWelcome]) -> int:
    """Wake the devices of these Welcomes, if they are connected, and note that it was done."""
    with transaction.atomic(durable=True):
        note_rings(welcomes)
        for welcome in welcomes:
            ring_again(welcome.convo_id)
            carry_hint(_welcome_hint(welcome))
    return len(welcomes)


def ask_for_readding(welcomes: Sequence[StuckWelcome]) -> int:
    """End these Welcomes and ask the members to let their devices in anew; says how many devices that concerns."""
    return sum(_ask_for_one(welcome) for welcome in welcomes)


def ring_for_waiting() -> int:
    """Ring again for whatever waits too long."""
    due = claim_rings()
    for welcome in due:
        ring_again(welcome.convo_id)
        carry_hint(_welcome_hint(welcome))
    return len(due)


def notice_low_stock() -> int:
    """Tell devices that run out of packages, at most once a day each."""
    devices = claim_low_stock()
    for device in devices:
        carry_hint(Hint("infoEvent", {"info": "LowKeyPackages"}, did=device.did, device_id=device.device_id))
    return len(devices)


def _ask_for_one(welcome: StuckWelcome) -> bool:
    with locked_convo(welcome.convo_id) as convo:
        mine = active_members(convo.pk).filter(did=welcome.did, device_id=welcome.device_id)
        supersede_welcomes(convo_id=convo.pk, did=welcome.did, device_id=welcome.device_id, reason="to be added again")
        if not mine.exists():
            return False
        request, _ = ReadditionRequest.objects.get_or_create(
            convo=convo, did=welcome.did, device_id=welcome.device_id, answered_at=None
        )
        request.refresh_from_db()
        carry_hint(readdition_hint(request))
    return True


def _welcome_hint(welcome: StuckWelcome) -> Hint:
    fields = {"info": "WelcomeWaiting", "convoId": welcome.convo_id}
    return Hint("infoEvent", fields, did=welcome.did, device_id=welcome.device_id or None)
