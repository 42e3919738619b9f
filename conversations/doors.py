"""The way into a group from outside: a GroupInfo of the current epoch that a device can really join by.

A tracked convo gets one with every commit. What readers get is prepared beside the request that made it, and looked
at as a joiner would; a convo that nobody could join asks its members, one after the other, until one answers.
"""

import logging
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import redis
from django.core.cache import cache
from django.db.models import F
from django.utils import timezone

from conversations.framing import fault_for_joiners
from conversations.hints import group_info_hint
from conversations.models import Convo, GroupInfoRequest, GroupState
from conversations.selectors import active_members
from delivery.services import carry_hint

logger = logging.getLogger(__name__)

DOOR_LIFETIME = timedelta(minutes=5)
PREPARED_SECONDS = 600
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
ASKED_AT_ONCE = 200
NEVER_GIVEN = "nobody has uploaded a GroupInfo of this epoch"


@dataclass(frozen=True, slots=True)
class Door:
    """What a device needs to commit itself into a group in one epoch.

    It holds as long as the epoch does; ``expires_at`` is when to ask again at the latest.
    """

    group_info: bytes
    ratchet_tree: bytes
    epoch: int
    expires_at: datetime


def door_of(convo: Convo) -> Door | None:
    """The door of the convo's epoch, prepared or not; None when no GroupInfo of it is known."""
    return _prepared(convo) or _door(_state_of(convo))


def regenerate(convo_id: str) -> None:
    """Prepare what readers get, and see whether a device could join by it. Twice is harmless."""
    convo = Convo.objects.filter(pk=convo_id, closed_at__isnull=True).first()
    if convo is None:
        return
    state = _state_of(convo)
    door = _door(state)
    if state is None or door is None:
        want_group_info(convo_id, NEVER_GIVEN)
        return
    fault = fault_for_joiners(bytes(state.group_info), bytes(state.ratchet_tree))
    # The epoch may have ended meanwhile; what was found out is of the one that was looked at.
    looked_at = GroupState.objects.filter(convo=convo, epoch=state.epoch)
    if looked_at.update(checked_at=timezone.now(), fault=fault) and fault:
        want_group_info(convo_id, fault)
    _prepare(convo_id, door)


def want_group_info(convo_id: str, cause: str) -> None:
    """Members are to be asked for a GroupInfo; they are asked already when they were before."""
    GroupInfoRequest.objects.get_or_create(convo_id=convo_id, defaults={"cause": cause})


def ask_for_group_infos() -> int:
    """Ask one member of every convo whose turn it is, the next one at each turn, ever less often."""
    due = GroupInfoRequest.objects.filter(next_at__lte=timezone.now()).order_by("next_at")
    return sum(_ask_for_one(request) for request in due.select_related("convo")[:ASKED_AT_ONCE])


def _ask_for_one(request: GroupInfoRequest) -> bool:
    members = active_members(request.convo_id).order_by("pk")
    places = list(members.values_list("did", "device_id"))
    if not places or request.convo.closed_at is not None:
        request.delete()
        return False
    did, device_id = places[request.asked % len(places)]
    wait = min(FIRST_WAIT * 2 ** min(request.asked, 10), LONGEST_WAIT)
    # Of two processes at once one asks.
    turn = GroupInfoRequest.objects.filter(pk=request.pk, asked=request.asked)
    if not turn.update(asked=F("asked") + 1, last_asked=did, next_at=timezone.now() + wait):
        return False
    carry_hint(group_info_hint(request, did=did, device_id=device_id or None))
    return True


def _state_of(convo: Convo) -> GroupState | None:
    """That of the convo's epoch, or of a later one that has begun since the convo was read."""
    return GroupState.objects.filter(convo=convo, epoch__gte=convo.epoch).first()


def _door(state: GroupState | None) -> Door | None:
    if state is None:
        return None
    return _opened(bytes(state.group_info), bytes(state.ratchet_tree), state.epoch)


def _opened(group_info: bytes, ratchet_tree: bytes, epoch: int) -> Door:
    return Door(group_info, ratchet_tree, epoch, expires_at=timezone.now() + DOOR_LIFETIME)


def _key(convo_id: str, epoch: int) -> str:
    return f"door:{convo_id}:{epoch}"


def _prepare(convo_id: str, door: Door) -> None:
    try:
        kept = msgspec.msgpack.encode((door.group_info, door.ratchet_tree))
        cache.set(_key(convo_id, door.epoch), zlib.compress(kept, 1), PREPARED_SECONDS)
    except redis.RedisError as error:
        logger.warning("door not prepared convo=%s cause=%s", convo_id, type(error).__name__)


def _prepared(convo: Convo) -> Door | None:
    try:
        kept = cache.get(_key(convo.pk, convo.epoch))
    except redis.RedisError:
        return None
    if kept is None:
        return None
    group_info, ratchet_tree = msgspec.msgpack.decode(zlib.decompress(kept), type=tuple[bytes, bytes])
    return _opened(group_info, ratchet_tree, convo.epoch)
