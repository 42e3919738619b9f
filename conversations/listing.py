"""defs#convoView of an account's convos, by one statement however many there are.

The roster is the greater part of it, and leaves the database as the wire shows it: what is only passed on is not taken
apart on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import orjson
from django.db import connection

from catbird_mls.xrpc.errors import InvalidCursor
from catbird_mls.xrpc.fields import wire_time
from delivery.selectors import READ_UP_TO
from keypackages.selectors import DEVICE_NAME

WIRE_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
CONVOS = f"""
WITH mine AS MATERIALIZED (
    SELECT * FROM conversations_convo AS convo
     WHERE closed_at IS NULL
       AND EXISTS (SELECT FROM conversations_member
                    WHERE convo_id = convo.id AND did = %(did)s AND left_at IS NULL AND leaving_at IS NULL)
       AND (%(convo_id)s::text IS NULL OR id = %(convo_id)s)
       AND (%(created_at)s::timestamptz IS NULL OR (created_at, id) > (%(created_at)s, %(after)s))
     ORDER BY created_at, id
     LIMIT %(limit)s + 1
)
SELECT id, creator_did, epoch, cipher_suite, created_at, last_message_at, name, description, mode, last_seq,
       ({READ_UP_TO.format(convo_id="mine.id")}),
       (SELECT json_agg(json_object(
                   'did' : did,
                   'userDid' : did,
                   'deviceId' : NULLIF(device_id, ''),
                   'deviceName' : ({DEVICE_NAME.format(device_id="member.device_id")}),
                   'joinedAt' : {WIRE_TIME.format("joined_at")},
                   'isAdmin' : is_admin,
                   'isModerator' : is_moderator,
                   'promotedAt' : {WIRE_TIME.format("promoted_at")},
                   'promotedBy' : NULLIF(promoted_by, ''),
                   'leafIndex' : leaf_index
                   ABSENT ON NULL) ORDER BY joined_seq, member.id)::text
          FROM conversations_member AS member
         WHERE convo_id = mine.id AND left_at IS NULL AND leaving_at IS NULL)
  FROM mine
 ORDER BY created_at, id
"""  # noqa: S608 - put together of constants
Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class ConvosAsked:
    """The account's convos, oldest first: complete, and stable while others are created."""

    did: str
    limit: int = 1
    cursor: str | None = None
    convo_id: str | None = None

    statement: ClassVar[str] = CONVOS

    def values(self) -> dict[str, Any]:
        created_at, _, after = (self.cursor or "").partition("::")
        return {
            "did": self.did,
            "limit": self.limit,
            "convo_id": self.convo_id,
            "created_at": _moment(created_at) if self.cursor else None,
            "after": after,
        }

    def page(self, rows: Sequence[Row]) -> tuple[list[dict[str, Any]], str | None]:
        views = [_view(row) for row in rows[: self.limit]]
        if len(rows) <= self.limit:
            return views, None
        last = rows[self.limit - 1]
        return views, f"{last[4].isoformat()}::{last[0]}"


def convo_page(asked: ConvosAsked) -> tuple[list[dict[str, Any]], str | None]:
    with connection.cursor() as cursor:
        cursor.execute(asked.statement, asked.values())
        return asked.page(cursor.fetchall())


def convo_view(*, did: str, convo_id: str) -> dict[str, Any]:
    """One convo as a member of it sees it."""
    views, _ = convo_page(ConvosAsked(did, convo_id=convo_id))
    return views[0]


def _view(row: Row) -> dict[str, Any]:
    convo_id, creator, epoch, suite, created_at, last_message_at, name, description, mode, last_seq, read, roster = row
    metadata = {"name": name or None, "description": description or None}
    return {
        "groupId": convo_id,
        "creator": creator,
        "members": orjson.Fragment(roster),
        "epoch": epoch,
        "cipherSuite": suite,
        "createdAt": wire_time(created_at),
        "lastMessageAt": wire_time(last_message_at) if last_message_at else None,
        "metadata": metadata if any(metadata.values()) else None,
        "mode": mode,
        "lastSeq": last_seq,
        "unreadCount": None if read is None else max(0, last_seq - read),
    }


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidCursor from None
