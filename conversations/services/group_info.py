from conversations.doors import NEVER_GIVEN, Door, door_of, want_group_info
from conversations.errors import EpochMismatch, GroupInfoUnavailable, InvalidGroupInfo, Unauthorized
from conversations.framing import PublicGroup, StoredGroup, brings_tree, found_group, signer_of
from conversations.locks import locked_convo
from conversations.models import Convo, GroupInfoRequest, GroupState, Mode
from conversations.nudges import prepare_doors
from conversations.rejoining import require_can_rejoin
from conversations.selectors import Asking, places_of
from conversations.services.log import UPDATE_GROUP_INFO
from conversations.services.refusals import journaled
from keypackages.selectors import devices_of_keys


def read_group_info(*, convo_id: str, who: Asking) -> Door:
    """The verified GroupInfo of the current epoch, with the tree, for whoever may come back."""
    convo = require_can_rejoin(Convo.objects.filter(pk=convo_id).first(), who.did)
    door = door_of(convo)
    if door is None:
        raise GroupInfoUnavailable("No GroupInfo of this conversation is known.")
    return door


def update_group_info(*, convo_id: str, who: Asking, group_info: bytes, epoch: int) -> None:
    """Keep a GroupInfo of the current epoch that the caller's device has signed. Sending it again changes nothing.

    A tracked convo has one with every commit, so this only replaces it by another of the same state. Of an opaque
    convo it is all the server knows: it must carry the tree, and everything a joiner could verify is verified.
    """
    with journaled(UPDATE_GROUP_INFO, "GroupInfo", convo_id=convo_id, who=who, body=group_info):
        _update(convo_id, who, group_info, epoch)


def _update(convo_id: str, who: Asking, group_info: bytes, epoch: int) -> None:
    if not places_of(convo_id, who):
        raise Unauthorized
    with locked_convo(convo_id) as convo:
        if not places_of(convo_id, who):
            raise Unauthorized
        if epoch != convo.epoch:
            raise EpochMismatch(f"The conversation is at epoch {convo.epoch}.", current_epoch=convo.epoch)
        _keep(convo, who, group_info)


def keep_uploaded(convo: Convo, who: Asking, group_info: bytes | None) -> None:
    """What came with a commit of an opaque convo; without a tree nobody can join until somebody uploads another."""
    if group_info is not None and brings_tree(group_info):
        _keep(convo, who, group_info)
    else:
        want_group_info(convo.pk, NEVER_GIVEN)


def _keep(convo: Convo, who: Asking, group_info: bytes) -> None:
    """Under the lock: verify a GroupInfo of the convo's epoch, and let it be the door from now on."""
    group = _described(convo, GroupState.objects.filter(convo=convo).first(), group_info)
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
            "checked_at": None,
            "fault": "",
        },
    )
    GroupInfoRequest.objects.filter(convo=convo).delete()
    prepare_doors()


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
