"""The tables of one device's file, and the steps from older files to them."""

VERSION = 2

# One statement list a version; a file is brought from its user_version to VERSION in one transaction.
STEPS: dict[int, tuple[str, ...]] = {
    1: (
        """
        CREATE TABLE device (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            did TEXT NOT NULL,
            device_uuid TEXT NOT NULL,
            device_id TEXT,
            name TEXT,
            engine BLOB NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE convo (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            state TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            join_epoch INTEGER NOT NULL,
            seq INTEGER,
            unconfirmed INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        """
        CREATE TABLE message (
            convo_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            id TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            kind TEXT NOT NULL,
            sender TEXT,
            mine INTEGER NOT NULL,
            body TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (convo_id, seq),
            UNIQUE (convo_id, id)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE outbox (
            place INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            convo_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            method TEXT NOT NULL,
            request TEXT NOT NULL,
            mls BLOB NOT NULL,
            body TEXT NOT NULL,
            epoch INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE TABLE stream (scope TEXT PRIMARY KEY, cursor TEXT NOT NULL) STRICT",
    ),
    2: (
        "ALTER TABLE device ADD COLUMN sender_identity BLOB",
        "ALTER TABLE device ADD COLUMN sender_key BLOB",
        "ALTER TABLE convo ADD COLUMN retry_at INTEGER NOT NULL DEFAULT 0",
    ),
}
