"""Pages of a log, by one statement each, whoever runs it: a thread of Django's or the event loop.

A page is cut by count and by bytes, and its first entry is always on it. Of an entry that is not, the statement brings
the place alone: that is how it tells that there is more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import connection

from catbird_mls.xrpc.errors import InvalidCursor
from conversations import shapes
from conversations.errors import InvalidEpochRange
from conversations.selectors import Asking, require_member
from conversations.shapes import LogEntry
from delivery.errors import OutdatedCursor
from delivery.selectors import OWED, Span, merged_spans

COMMITS_PAGE = 100
MISSING_SEQS_MAX = 100

FITS = "row_number() OVER page = 1 OR (row_number() OVER page <= %(limit)s AND sum(size) OVER page <= %(most)s)"
ENTRY = f"seq, epoch, kind, msg_id, sender_did, received_at, CASE WHEN {FITS} THEN body END"
MESSAGES = f"""
WITH owed AS ({OWED} AND (last_seq IS NULL OR last_seq > %(after)s)),
spans AS (SELECT array_agg(first_seq ORDER BY first_seq), array_agg(last_seq ORDER BY first_seq) FROM owed),
ahead AS (
    SELECT * FROM conversations_message AS entry
     WHERE convo_id = %(convo_id)s
       AND seq > %(after)s AND seq >= (SELECT min(first_seq) FROM owed)
       AND EXISTS (SELECT FROM owed WHERE seq >= first_seq AND (last_seq IS NULL OR seq <= last_seq))
     ORDER BY seq
     LIMIT %(limit)s + 1
)
SELECT spans.*, entry.*
  FROM spans LEFT JOIN (SELECT {ENTRY} FROM ahead WINDOW page AS (ORDER BY seq)) AS entry ON true
 ORDER BY seq
"""  # noqa: S608 - put together of constants
COMMITS = f"""
WITH place AS (
    SELECT min(joined_epoch) AS joined FROM conversations_member
     WHERE convo_id = %(convo_id)s AND did = %(did)s AND left_at IS NULL AND leaving_at IS NULL
       AND (%(device_id)s::text IS NULL OR device_id IN (%(device_id)s, ''))
),
ahead AS (
    SELECT * FROM conversations_message
     WHERE convo_id = %(convo_id)s AND kind = 'commit' AND epoch BETWEEN %(start)s AND %(end)s
     ORDER BY epoch
     LIMIT %(limit)s + 1
)
SELECT joined, (SELECT purged_epoch FROM conversations_convo WHERE id = %(convo_id)s), entry.*
  FROM place LEFT JOIN (SELECT {ENTRY} FROM ahead WINDOW page AS (ORDER BY epoch)) AS entry ON joined IS NOT NULL
 ORDER BY epoch
"""  # noqa: S608 - put together of constants
BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Page:
    messages: list[LogEntry]
    last_seq: int
    missing: list[int]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class MessagesAsked:
    """The entries after a place that an account, or one of its devices, may read."""

    convo_id: str
    who: Asking
    after: int
    limit: int

    statement: ClassVar[str] = MESSAGES

    def values(self) -> dict[str, Any]:
        return {**_values(self.convo_id, self.who), "after": min(self.after, BIGINT_MAX), "limit": self.limit}

    def page(self, rows: Sequence[Sequence[Any]]) -> Page | None:
        """None when nothing is owed to whoever asks: a stranger, or somebody who has left and read everything."""
        firsts, lasts = rows[0][:2]
        if firsts is None:
            return None
        messages, more = _kept(rows)
        end = messages[-1].seq if messages else self.after
        spans = [Span(self.convo_id, first, last) for first, last in zip(firsts, lasts, strict=True)]
        due = seqs_due(merged_spans(spans), self.after, end, limit=MISSING_SEQS_MAX + self.limit)
        held = {message.seq for message in messages}
        missing = [seq for seq in due if seq not in held][:MISSING_SEQS_MAX]
        return Page(messages, end, missing, cursor=str(end) if more else None)


@dataclass(frozen=True, slots=True)
class CommitsAsked:
    """Commits by the epoch they lead to."""

    convo_id: str
    who: Asking
    start: int
    end: int = BIGINT_MAX

    statement: ClassVar[str] = COMMITS

    def values(self) -> dict[str, Any]:
        start, end = min(self.start, BIGINT_MAX), min(self.end, BIGINT_MAX)
        return {**_values(self.convo_id, self.who), "start": start, "end": end, "limit": COMMITS_PAGE}

    def page(self, rows: Sequence[Sequence[Any]]) -> tuple[list[LogEntry], str | None] | None:
        """None for a stranger. What the asker was a member for and is not kept any more is refused by name."""
        joined, purged = rows[0][:2]
        if joined is None:
            return None
        if purged is not None and max(self.start, joined + 1) <= purged:
            raise OutdatedCursor
        commits, more = _kept(rows)
        return commits, str(commits[-1].epoch) if more else None


def commits_asked(
    *, convo_id: str, who: Asking, from_epoch: int, to_epoch: int | None, cursor: str | None
) -> CommitsAsked:
    """Any range, from where the last page ended."""
    if to_epoch is not None and to_epoch < from_epoch:
        raise InvalidEpochRange("toEpoch is before fromEpoch.")
    start = max(from_epoch, _number(cursor) + 1) if cursor else from_epoch
    return CommitsAsked(convo_id, who, start, BIGINT_MAX if to_epoch is None else to_epoch)


def message_page(asked: MessagesAsked) -> Page:
    """A former member gets what was accepted while it was one, and then the same answer as a stranger."""
    page = asked.page(_fetched(asked.statement, asked.values()))
    if page is None:
        require_member(asked.convo_id, asked.who)
        return Page([], asked.after, [], None)
    return page


def commit_page(asked: CommitsAsked) -> tuple[list[LogEntry], str | None]:
    page = asked.page(_fetched(asked.statement, asked.values()))
    if page is None:
        require_member(asked.convo_id, asked.who)
        return [], None
    return page


def seqs_due(spans: Sequence[Span], after: int, end: int, *, limit: int) -> list[int]:
    """The first places up to ``end`` that an entry belongs to."""
    due: list[int] = []
    for span in spans:
        first = max(span.first_seq, after + 1)
        last = end if span.last_seq is None else min(end, span.last_seq)
        due.extend(range(first, last + 1)[: limit - len(due)])
    return due


def _values(convo_id: str, who: Asking) -> dict[str, Any]:
    return {"convo_id": convo_id, "did": who.did, "device_id": who.device_id, "most": shapes.PAGE_MAX_BYTES}


def _fetched(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _kept(rows: Sequence[Sequence[Any]]) -> tuple[list[LogEntry], bool]:
    """The entries that the page has room for, and whether there are more."""
    found = [LogEntry(*row[2:]) for row in rows if row[2] is not None]
    kept = [entry for entry in found if entry.body is not None]
    return kept, len(found) > len(kept)


def _number(cursor: str) -> int:
    if not cursor.isdecimal():
        raise InvalidCursor
    return int(cursor)
