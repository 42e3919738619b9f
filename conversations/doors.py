"""The way into a group from outside: a GroupInfo of the current epoch that a device can really join by.

A tracked convo gets one with every commit. What readers get is prepared beside the request that made it, and looked
at as a joiner would; a convo that nobody could join asks its members, one after the other, until one answers.
"""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import redis
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import F, QuerySet
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
REGENERATED_AT_ONCE = 20
NEVER_GIVEN = "nobody has uploaded a GroupInfo of this epoch"
UNREADABLE = "group_info.unreadable"
TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended('doors', 3))"
CHECKED = """
UPDATE conversations_groupstate AS state SET checked_at = statement_timestamp(), fault = found.fault
  FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS found (convo_id, epoch, fault)
 WHERE state.convo_id = found.convo_id AND state.epoch = found.epoch
RETURNING state.convo_id, state.fault
"""


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


def regenerate() -> None:
    """Prepare what readers get wherever that is not done, and see whether a device could join by it.

    Of two passes at once one does it; twice is harmless.
    """
    while _regenerate_some() == REGENERATED_AT_ONCE:
        pass


def look_again(convo_id: str) -> None:
    """Have the convo's door prepared anew, or its members asked for one."""
    if not GroupState.objects.filter(convo_id=convo_id).update(checked_at=None):
        want_group_info(convo_id, NEVER_GIVEN)


def _regenerate_some() -> int:
    with transaction.atomic(durable=True):
        states = list(_unchecked()) if _is_my_turn() else []
        # First, so that what is noted as looked at is prepared, too, whatever dies in between.
        _prepare(states)
        for convo_id, fault in _note_checked([(one.convo_id, one.epoch, _fault_of(one)) for one in states]):
            if fault:
                want_group_info(convo_id, fault)
    return len(states)


def _is_my_turn() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(TURN)
        return bool(cursor.fetchone()[0])


def _unchecked() -> QuerySet[GroupState]:
    """Those that have waited longest; nothing is held while they are looked at."""
    return GroupState.objects.filter(checked_at__isnull=True).order_by("updated_at")[:REGENERATED_AT_ONCE]


def _fault_of(state: GroupState) -> str:
    try:
        return fault_for_joiners(bytes(state.group_info), bytes(state.ratchet_tree))
    except Exception:
        # One state that cannot even be looked at keeps no other waiting.
        logger.exception("door not looked at convo=%s", state.convo_id)
        return UNREADABLE


def _note_checked(found: Sequence[tuple[str, int, str]]) -> list[tuple[str, str]]:
    """The epoch may have ended meanwhile; what was found out is of the one that was looked at."""
    if not found:
        return []
    with connection.cursor() as cursor:
        cursor.execute(CHECKED, [list(column) for column in zip(*found, strict=True)])
        return list(cursor.fetchall())


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


def _prepare(states: Sequence[GroupState]) -> None:
    doors = {_key(state.convo_id, state.epoch): _packed(state) for state in states}
    try:
        cache.set_many(doors, PREPARED_SECONDS)
    except redis.RedisError as error:
        logger.warning("doors not prepared cause=%s", type(error).__name__)


def _packed(state: GroupState) -> bytes:
    return zlib.compress(msgspec.msgpack.encode((bytes(state.group_info), bytes(state.ratchet_tree))), 1)


def _prepared(convo: Convo) -> Door | None:
    try:
        kept = cache.get(_key(convo.pk, convo.epoch))
    except redis.RedisError:
        return None
    if kept is None:
        return None
    group_info, ratchet_tree = msgspec.msgpack.decode(zlib.decompress(kept), type=tuple[bytes, bytes])
    return _opened(group_info, ratchet_tree, convo.epoch)
