"""Everything one device of one account knows, in one SQLite file that only its owner can read.

Whatever belongs together is written in one ``transaction``: after a crash the file holds all of it or none.
One process at a time may hold a store, because two engines on one ratchet would fork without noticing.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catbird.errors import StoreError
from catbird.rows import ConvoRow, DeviceRow, ExternalSender, Kind, Message, Outgoing, State
from catbird.schema import STEPS, VERSION

_OWNER_ONLY = 0o600
_CONVO = "SELECT id, name, state, epoch, join_epoch, seq, unconfirmed, retry_at FROM convo "
_MESSAGE = "SELECT convo_id, seq, id, epoch, kind, sender, mine, body, created_at FROM message "
_OUTGOING = "SELECT id, convo_id, kind, method, request, mls, body, epoch FROM outbox "


class Store:
    """One open file. ``close`` gives it free."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = _lock(path)
        self._db = _connect(path)
        try:
            self._upgrade()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the file free. Doing so again changes nothing."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside, or none. Never spans an ``await``: nothing else may write in between."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _upgrade(self) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            raise StoreError(f"{self.path} was written by a later version of catbird")
        with self.transaction():
            for version in range(found + 1, VERSION + 1):
                for statement in STEPS[version]:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def device(self) -> DeviceRow | None:
        row = self._one("SELECT did, device_uuid, device_id, name, sender_identity, sender_key FROM device")
        return _device(row) if row else None

    def create_device(self, did: str, device_uuid: str, engine: bytes) -> None:
        self._db.execute(
            "INSERT INTO device (only, did, device_uuid, engine) VALUES (1, ?, ?, ?)",
            (did, device_uuid, engine),
        )

    def set_registration(self, device_id: str, name: str, sender: ExternalSender | None) -> None:
        self._db.execute(
            "UPDATE device SET device_id = ?, name = ?, sender_identity = ?, sender_key = ?",
            (device_id, name, sender and sender.identity, sender and sender.signature_key),
        )

    def engine(self) -> bytes:
        (state,) = self._db.execute("SELECT engine FROM device").fetchone()
        return bytes(state)

    def set_engine(self, state: bytes) -> None:
        self._db.execute("UPDATE device SET engine = ?", (state,))

    def convo(self, convo_id: str) -> ConvoRow | None:
        rows = self._convos("WHERE id = ?", convo_id)
        return rows[0] if rows else None

    def convos(self) -> list[ConvoRow]:
        return self._convos("ORDER BY rowid")

    def put_convo(self, convo: ConvoRow) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO convo (id, name, state, epoch, join_epoch, seq, unconfirmed, retry_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (convo.id, convo.name, convo.state, convo.epoch, convo.join_epoch, convo.seq, convo.unconfirmed,
             convo.retry_at),
        )  # fmt: skip

    def set_state(self, convo_id: str, state: State) -> None:
        self._db.execute("UPDATE convo SET state = ? WHERE id = ?", (state, convo_id))

    def set_position(self, convo_id: str, *, epoch: int, seq: int | None) -> None:
        self._db.execute("UPDATE convo SET epoch = ?, seq = ? WHERE id = ?", (epoch, seq, convo_id))

    def set_confirmed(self, convo_id: str) -> None:
        self._db.execute("UPDATE convo SET unconfirmed = 0 WHERE id = ?", (convo_id,))

    def add_message(self, message: Message) -> None:
        """Keep a message; one that is there already stays as it is."""
        body = json.dumps(message.payload, ensure_ascii=False)
        self._db.execute(
            "INSERT INTO message (convo_id, seq, id, epoch, kind, sender, mine, body, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (message.convo_id, message.seq, message.id, message.epoch, message.kind, message.sender,
             message.mine, body, message.created_at),
        )  # fmt: skip

    def messages(self, convo_id: str, *, after: int, up_to: int | None, limit: int) -> list[Message]:
        rows = self._db.execute(
            _MESSAGE + "WHERE convo_id = ? AND seq > ? AND (? IS NULL OR seq <= ?) ORDER BY seq LIMIT ?",
            (convo_id, after, up_to, up_to, limit),
        )
        return [_message(row) for row in rows]

    def count_messages(self, convo_id: str, *, after: int, up_to: int) -> int:
        row = self._one(
            "SELECT count(*) FROM message WHERE convo_id = ? AND seq > ? AND seq <= ?", convo_id, after, up_to
        )
        return int(row[0])

    def message(self, convo_id: str, message_id: str) -> Message | None:
        row = self._one(_MESSAGE + "WHERE convo_id = ? AND id = ?", convo_id, message_id)
        return _message(row) if row else None

    def own_ids(self, convo_id: str, *, after: int) -> set[str]:
        """Ids of this device's messages whose places in the log are still ahead, or not known yet."""
        rows = self._db.execute(
            "SELECT id FROM outbox WHERE convo_id = ?"
            " UNION SELECT id FROM message WHERE convo_id = ? AND mine AND seq > ?",
            (convo_id, convo_id, after),
        )
        return {found for (found,) in rows}

    def put_outgoing(self, outgoing: Outgoing) -> None:
        """Keep a request before it is sent; the same id again replaces it in its place."""
        self._db.execute(
            "INSERT INTO outbox (id, convo_id, kind, method, request, mls, body, epoch)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " request = excluded.request, mls = excluded.mls, epoch = excluded.epoch",
            (outgoing.id, outgoing.convo_id, outgoing.kind, outgoing.method, outgoing.request_text,
             outgoing.mls, outgoing.body, outgoing.epoch),
        )  # fmt: skip

    def outgoing(self, outgoing_id: str) -> Outgoing | None:
        row = self._one(_OUTGOING + "WHERE id = ?", outgoing_id)
        return _outgoing(row) if row else None

    def outbox(self, convo_id: str) -> list[Outgoing]:
        """In the order in which they were decided."""
        rows = self._db.execute(_OUTGOING + "WHERE convo_id = ? ORDER BY place", (convo_id,))
        return [_outgoing(row) for row in rows]

    def drop_outgoing(self, outgoing_id: str) -> None:
        self._db.execute("DELETE FROM outbox WHERE id = ?", (outgoing_id,))

    def drop_commits(self, convo_id: str) -> None:
        """What was made in a copy of the group that is given up; messages go out from the next one."""
        self._db.execute(
            "DELETE FROM outbox WHERE convo_id = ? AND kind IN (?, ?)", (convo_id, Kind.COMMIT, Kind.REJOIN)
        )

    def drop_outbox(self, convo_id: str) -> None:
        self._db.execute("DELETE FROM outbox WHERE convo_id = ?", (convo_id,))

    def cursor(self, scope: str) -> str | None:
        row = self._one("SELECT cursor FROM stream WHERE scope = ?", scope)
        return row[0] if row else None

    def set_cursor(self, scope: str, cursor: str | None) -> None:
        if cursor is None:
            self._db.execute("DELETE FROM stream WHERE scope = ?", (scope,))
        else:
            self._db.execute("INSERT OR REPLACE INTO stream (scope, cursor) VALUES (?, ?)", (scope, cursor))

    def _one(self, statement: str, *values: Any) -> Any:
        return self._db.execute(statement, values).fetchone()

    def _convos(self, clause: str, *values: str) -> list[ConvoRow]:
        rows = self._db.execute(_CONVO + clause, values)
        return [_convo(row) for row in rows]


def _lock(path: Path) -> int:
    """An exclusive lock beside the file; it ends with the process, however that ends."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(f"{path} is in use by another client") from None
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    # Created with its mode before SQLite opens it: the WAL and its index take over the file's mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY))
    path.chmod(_OWNER_ONLY)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    # What was sent must not be forgotten by a power cut: a ratchet that goes back uses a key twice.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _device(row: Any) -> DeviceRow:
    did, device_uuid, device_id, name, identity, key = row
    sender = ExternalSender(identity, key) if key is not None else None
    return DeviceRow(did, device_uuid, device_id, name, sender)


def _convo(row: Any) -> ConvoRow:
    convo_id, name, state, epoch, join_epoch, seq, unconfirmed, retry_at = row
    return ConvoRow(convo_id, name, State(state), epoch, join_epoch, seq, bool(unconfirmed), retry_at)


def _message(row: Any) -> Message:
    convo_id, seq, message_id, epoch, kind, sender, mine, body, created_at = row
    return Message(convo_id, seq, message_id, epoch, kind, sender, bool(mine), json.loads(body), created_at)


def _outgoing(row: Any) -> Outgoing:
    outgoing_id, convo_id, kind, method, request, mls, body, epoch = row
    return Outgoing(outgoing_id, convo_id, Kind(kind), method, json.loads(request), bytes(mls), body, epoch)
