from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from conversations.errors import EpochMismatch, GroupInfoUnavailable, InvalidGroupInfo, Unauthorized
from conversations.framing import PublicGroup, StoredGroup, found_group, signer_of
from conversations.locks import locked_convo
from conversations.models import Convo, GroupState, Mode
from conversations.rejoining import require_can_rejoin
from conversations.selectors import Asking, places_of
from keypackages.selectors import devices_of_keys

GROUP_INFO_LIFETIME = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Door:
    """What a device needs to commit itself into a group."""

    group_info: bytes
    ratchet_tree: bytes
    epoch: int
    expires_at: datetime


def read_group_info(*, convo_id: str, who: Asking) -> Door:
    """The verified GroupInfo of the current epoch, with the tree, for whoever may come back.

    It holds as long as the epoch does; ``expires_at`` is when to ask again at the latest.
    """
    convo = require_can_rejoin(Convo.objects.filter(pk=convo_id).first(), who.did)
    state = GroupState.objects.filter(convo=convo, epoch=convo.epoch).first()
    if state is None:
        raise GroupInfoUnavailable("No GroupInfo of this conversation is known.")
    return Door(
        group_info=bytes(state.group_info),
        ratchet_tree=bytes(state.ratchet_tree),
        epoch=state.epoch,
        expires_at=timezone.now() + GROUP_INFO_LIFETIME,
    )


def update_group_info(*, convo_id: str, who: Asking, group_info: bytes, epoch: int) -> None:
    """Keep a GroupInfo of the current epoch that the caller's device has signed. Sending it again changes nothing.

    A tracked convo has one with every commit, so this only replaces it by another of the same state. Of an opaque
    convo it is all the server knows: it must carry the tree, and everything a joiner could verify is verified.
    """
    if not places_of(convo_id, who):
        raise Unauthorized
    with locked_convo(convo_id) as convo:
        if not places_of(convo_id, who):
            raise Unauthorized
        if epoch != convo.epoch:
            raise EpochMismatch(f"The conversation is at epoch {convo.epoch}.", current_epoch=convo.epoch)
        state = GroupState.objects.filter(convo=convo).first()
        group = _described(convo, state, group_info)
        _require_callers_signature(group, group_info, who)
        stored = StoredGroup.of(group)
        GroupState.objects.update_or_create(
            convo=convo,
            defaults={
                "epoch": group.epoch,
                "ratchet_tree": stored.ratchet_tree,
                "group_context": stored.group_context,
                "confirmation_tag": stored.confirmation_tag,
                "group_info": group_info,
            },
        )


def _described(convo: Convo, state: GroupState | None, group_info: bytes) -> PublicGroup:
    """The group as the GroupInfo describes it, which must be the convo's, and in a tracked convo the very state."""
    tree = bytes(state.ratchet_tree) if convo.mode == Mode.TRACKED and state is not None else None
    group = found_group(group_info_bytes=group_info, ratchet_tree=tree)
    if group.group_id != bytes(convo.group_id):
        raise InvalidGroupInfo("group_info.wrong_group_id: the GroupInfo is of another group.")
    if group.epoch != convo.epoch:
        raise InvalidGroupInfo("group_info.wrong_epoch: the GroupInfo is of another epoch than the request says.")
    same_context = state is not None and group.group_context() == bytes(state.group_context)
    same_tag = state is not None and group.confirmation_tag == bytes(state.confirmation_tag)
    if convo.mode == Mode.TRACKED and not (same_context and same_tag):
        raise InvalidGroupInfo("group_info.context_mismatch: the GroupInfo is not of the group's state.")
    return group


def _require_callers_signature(group: PublicGroup, group_info: bytes, who: Asking) -> None:
    signer = signer_of(group_info)
    keys = [member.signature_key for member in group.members() if member.leaf_index == signer]
    devices = devices_of_keys(keys)
    mine = [device for (did, _), device in devices.items() if did == who.did]
    if not mine or who.device_id not in {None, mine[0].device_id}:
        raise InvalidGroupInfo("group_info.signer_mismatch: the GroupInfo was signed by another device.")
