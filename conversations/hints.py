"""What is told beside the log to those who are connected, and again to those who connect while it is open."""

from collections.abc import Sequence

from catbird_mls.xrpc.fields import wire_time
from conversations.additions import Addition, pending_additions
from conversations.models import ReadditionRequest
from delivery.hub import Hint


def new_device_hint(addition: Addition) -> Hint:
    """newDeviceEvent, for the members that are not of the account itself."""
    fields = {
        "convoId": addition.convo_id,
        "userDid": addition.device.did,
        "deviceId": addition.device.device_id,
        "deviceName": addition.device.name,
        "deviceCredentialDid": addition.device.did,
        "pendingAdditionId": addition.id,
    }
    return Hint("newDeviceEvent", fields, convo_id=addition.convo_id, not_for=addition.device.did)


def readdition_hint(request: ReadditionRequest) -> Hint:
    """readditionRequestedEvent, for the other members."""
    fields = {
        "convoId": request.convo_id,
        "userDid": request.did,
        "requestedAt": wire_time(request.requested_at),
    }
    return Hint("readditionRequestedEvent", fields, convo_id=request.convo_id, not_for=request.did)


def open_hints(convo_ids: Sequence[str]) -> list[Hint]:
    """Everything in these convos that somebody waits for."""
    requests = ReadditionRequest.objects.filter(convo_id__in=convo_ids, answered_at__isnull=True)
    additions = [new_device_hint(one) for one in pending_additions(convo_ids) if one.claimed_by is None]
    return additions + [readdition_hint(request) for request in requests.order_by("requested_at")]
