from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from conversations.errors import GroupInfoUnavailable
from conversations.models import Convo, GroupState
from conversations.rejoining import require_can_rejoin
from conversations.selectors import Asking

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
    state = GroupState.objects.filter(convo=convo).first()
    if state is None:
        raise GroupInfoUnavailable("No GroupInfo of this conversation is known.")
    return Door(
        group_info=bytes(state.group_info),
        ratchet_tree=bytes(state.ratchet_tree),
        epoch=state.epoch,
        expires_at=timezone.now() + GROUP_INFO_LIFETIME,
    )
