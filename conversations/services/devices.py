"""A device comes or goes: the directory and the rosters learn of it."""

from collections.abc import Sequence

from conversations.additions import pending_additions
from conversations.hints import new_device_hint
from conversations.locks import locked_convo
from conversations.models import Member, Mode
from conversations.selectors import convos_of_account
from conversations.services.proposals import propose_removals
from conversations.services.roster import end_place, settle_roles
from delivery.services import carry_hint, drop_push_tokens, keep_push_token
from keypackages import services as directory
from keypackages.selectors import DeviceRef, device_ref, require_device
from keypackages.services import BatchItem, DeletedDevice


def register_device(
    *, did: str, name: str, device_uuid: str, signature_key: bytes, key_packages: Sequence[BatchItem]
) -> tuple[DeviceRef, list[str]]:
    """Register the device in the directory, and ask the members of the account's convos to let it in.

    Returns it with the convos it waits for.
    """
    registered = directory.register_device(
        did=did, name=name, device_uuid=device_uuid, signature_key=signature_key, key_packages=key_packages
    )
    device = device_ref(registered)
    waiting = [one for one in pending_additions(convos_of_account(did)) if one.device.device_id == device.device_id]
    for addition in waiting:
        carry_hint(new_device_hint(addition))
    return device, [addition.convo_id for addition in waiting]


def delete_device(*, did: str, handle: str) -> DeletedDevice:
    """End the device's places everywhere, then forget it. Cut off in between, asking again does the rest.

    In tracked convos its leaves stay until members commit their removal, which the server proposes where it can.
    """
    device_id = require_device(did=did, handle=handle).pk
    places = Member.objects.filter(did=did, device_id=device_id, left_at__isnull=True, leaving_at__isnull=True)
    for convo_id in sorted(places.values_list("convo_id", flat=True)):
        _end_places(convo_id, did, device_id)
    drop_push_tokens(did=did, device_id=device_id)
    return directory.delete_device(did=did, handle=device_id)


def register_push_token(*, did: str, handle: str, platform: str, token: str) -> None:
    """The caller's device is pushed to by this token; one it had before for the platform, and its last device, go."""
    keep_push_token(did=did, device_id=require_device(did=did, handle=handle).pk, platform=platform, token=token)


def unregister_push_tokens(*, did: str, handle: str) -> None:
    """The caller's device is pushed to no more, on any platform."""
    drop_push_tokens(did=did, device_id=require_device(did=did, handle=handle).pk)


def _end_places(convo_id: str, did: str, device_id: str) -> None:
    with locked_convo(convo_id) as convo:
        mine = Member.objects.filter(convo=convo, did=did, device_id=device_id)
        for place in mine.filter(left_at__isnull=True, leaving_at__isnull=True):
            end_place(convo, place)
        if convo.mode == Mode.TRACKED:
            propose_removals(convo)
        settle_roles(convo)
