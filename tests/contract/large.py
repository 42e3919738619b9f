"""Tables as large as in production: rows that services have made, many times over with names of their own."""

from django.db import connection

from tests.faults.chores import neglected

MANY, SOME = 50_000, 20_000
# Above whatever sequences will give.
FIRST_NUMBER = 10_000_000
CONVO, ACCOUNT, DEVICE = "'convo' || 1 + n % 20000", "'did:plc:n' || n % 20000", "'device' || n"
BYTES = "'\\x00'"

# How many rows, which row is the pattern, and in what the others differ from it.
TABLES: dict[str, tuple[int, str, dict[str, str]]] = {
    "conversations_convo": (SOME, "true", {"id": "'convo' || n", "last_seq": "9"}),
    "conversations_groupstate": (
        SOME,
        "true",
        {"convo_id": CONVO, "ratchet_tree": BYTES, "group_info": BYTES, "group_context": BYTES},
    ),
    "conversations_member": (
        MANY,
        "left_at IS NULL AND leaving_at IS NULL",
        {"convo_id": CONVO, "did": ACCOUNT, "device_id": DEVICE, "leaf_index": "n"},
    ),
    "conversations_message": (
        2 * MANY,
        "kind = 'app'",
        {"convo_id": CONVO, "seq": "1 + n / 20000", "msg_id": "'m' || n", "received_at": "now()", "transaction": "n"},
    ),
    "conversations_epoch": (SOME, "true", {"convo_id": CONVO, "added": "'[]'::jsonb", "removed": "'[]'::jsonb"}),
    "conversations_answer": (SOME, "true", {"convo_id": CONVO, "did": ACCOUNT, "created_at": "now()"}),
    "conversations_rejoinattempt": (SOME, "true", {"convo_id": CONVO, "did": ACCOUNT, "made_at": "now()"}),
    "conversations_readditionrequest": (
        SOME,
        "true",
        {"convo_id": CONVO, "did": ACCOUNT, "requested_at": "now()", "answered_at": "now()"},
    ),
    "keypackages_device": (
        MANY,
        "true",
        {"id": DEVICE, "did": ACCOUNT, "device_uuid": DEVICE, "signature_key": "int8send(n)", "last_seen_at": "now()"},
    ),
    "keypackages_keypackage": (
        MANY,
        "spent_at IS NULL",
        {
            "did": ACCOUNT,
            "device_id": DEVICE,
            "reference": "int8send(n)",
            "body": BYTES,
            "expires_at": "now() + interval '30 days'",
        },
    ),
    "keypackages_dailycount": (SOME, "true", {"did": ACCOUNT}),
    "keypackages_welcomebody": (
        SOME,
        "true",
        {"convo_id": CONVO, "body": BYTES, "ratchet_tree": BYTES, "created_at": "now()"},
    ),
    "keypackages_welcome": (
        MANY,
        "state = 'confirmed'",
        {
            "convo_id": CONVO,
            "did": ACCOUNT,
            "device_id": DEVICE,
            "reference": "int8send(n)",
            "body_id": f"{FIRST_NUMBER} + n",
            "key_package_id": f"{FIRST_NUMBER} + n",
        },
    ),
    "delivery_mailbox": (
        MANY,
        "closed_at IS NULL",
        {"convo_id": CONVO, "did": ACCOUNT, "device_id": DEVICE, "first_seq": "1"},
    ),
    "delivery_envelope": (
        SOME,
        "true",
        {"convo_id": CONVO, "did": ACCOUNT, "device_id": DEVICE},
    ),
    "delivery_pushtoken": (
        SOME,
        "true",
        {"did": ACCOUNT, "device_id": DEVICE, "token": "int8send(n)", "fingerprint": DEVICE},
    ),
    "delivery_nudge": (
        SOME,
        "true",
        {"did": ACCOUNT, "device_id": DEVICE, "due_at": "NULL", "sent_at": "now()"},
    ),
    "journal_refusal": (SOME, "true", {"convo_id": CONVO, "did": ACCOUNT, "made_at": "now()"}),
}
WITHOUT_NUMBER = {"conversations_convo", "conversations_groupstate", "keypackages_device"}

FILL = """
INSERT INTO {table}
SELECT one.*
  FROM {table} AS pattern, generate_series(1::bigint, {count}) AS n,
       LATERAL jsonb_populate_record(pattern, jsonb_build_object({changes})) AS one
 WHERE pattern.ctid = (SELECT min(ctid) FROM {table} WHERE {pattern})
"""


def fill() -> None:
    """Written and counted, so that plans are made as in production; a superuser need not check references."""
    neglected()
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for table, (count, pattern, changes) in TABLES.items():
            number = {} if table in WITHOUT_NUMBER else {"id": f"{FIRST_NUMBER} + n"}
            pairs = ", ".join(f"'{name}', {value}" for name, value in (number | changes).items())
            cursor.execute(FILL.format(table=table, pattern=pattern, count=count, changes=pairs))
            assert cursor.rowcount == count, f"{table} has no row to begin with"
        cursor.execute("RESET session_replication_role; SET default_statistics_target = 20; ANALYZE")
