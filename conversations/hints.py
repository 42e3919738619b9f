"""What is told beside the log to those who are connected, and again to those who connect while it is open."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from django.conf import settings

from catbird_mls.xrpc.fields import wire_time
from conversations.additions import Addition, pending_additions
from conversations.models import GroupInfoRequest, ReadditionRequest
from delivery.hub import Hint

Action = Literal["joined", "left", "removed"]


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


def group_info_hint(request: GroupInfoRequest, *, did: str | None = None, device_id: str | None = None) -> Hint:
    """groupInfoRefreshRequestedEvent by the server itself, for one device or for whoever connects."""
    fields = {
        "convoId": request.convo_id,
        "requestedBy": settings.SERVICE_DID,
        "requestedAt": wire_time(request.since),
    }
    convo_id = request.convo_id if did is None else None
    return Hint("groupInfoRefreshRequestedEvent", fields, convo_id=convo_id, did=did, device_id=device_id)


def membership_hint(*, convo_id: str, did: str, action: Action, actor: str | None, epoch: int) -> Hint:
    """membershipChangeEvent, for everybody in the convo."""
    fields: dict[str, Any] = {"convoId": convo_id, "did": did, "action": action, "epoch": epoch}
    return Hint("membershipChangeEvent", fields | ({"actor": actor} if actor else {}), convo_id=convo_id)


def read_hint(*, convo_id: str, did: str, msg_id: str | None, read_at: datetime) -> Hint:
    """readEvent, for the account's own devices: who else has read what is nobody's business but the members'."""
    fields = {"convoId": convo_id, "did": did, "readAt": wire_time(read_at)}
    return Hint("readEvent", fields | ({"messageId": msg_id} if msg_id else {}), did=did)


def ephemeral_hint(convo_id: str, view: Mapping[str, Any]) -> Hint:
    """messageEvent of a message that is in no log, for everybody in the convo."""
    return Hint("messageEvent", {"message": view, "ephemeral": True}, convo_id=convo_id)


def open_hints(convo_ids: Sequence[str]) -> list[Hint]:
    """Everything in these convos that somebody waits for."""
    requests = ReadditionRequest.objects.filter(convo_id__in=convo_ids, answered_at__isnull=True)
    additions = [new_device_hint(one) for one in pending_additions(convo_ids) if one.claimed_by is None]
    wanted = GroupInfoRequest.objects.filter(convo_id__in=convo_ids).order_by("since")
    return [
        *additions,
        *(readdition_hint(request) for request in requests.order_by("requested_at")),
        *(group_info_hint(request) for request in wanted),
    ]
