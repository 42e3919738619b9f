"""Convos by SQL, as many and as long as a row needs: what services would leave, without the hours they would take.

All are opaque ones in their first epoch after the founding, and every account has one device. What is written into the
log through them is checked by the server like anything else.
"""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg

from tests.devices import SUITE, Phone

EPOCH = 1
# The log begins with the commit that let the others in.
FIRST_ENTRIES = 1
BODY_BYTES = 200

CONVOS = """
INSERT INTO conversations_convo
       (id, group_id, creator_did, cipher_suite, mode, epoch, last_seq, purged_seq, name, description)
SELECT md5(%(crowd)s || n), decode(md5(%(crowd)s || n), 'hex'), %(dids)s || '0', %(suite)s, 'opaque', 1, %(entries)s, 0,
       '', ''
  FROM generate_series(1, %(convos)s) n
"""
PLACES = """
WITH places AS (
    SELECT md5(%(crowd)s || n) AS convo_id, d.did, md5(d.did) AS device_id, m
      FROM generate_series(1, %(convos)s) n, generate_series(0, %(members)s - 1) m,
           LATERAL (SELECT %(dids)s || CASE WHEN %(shared)s THEN '' ELSE n || '-' END || m AS did) d
), members AS (
    INSERT INTO conversations_member
           (convo_id, did, device_id, is_admin, is_moderator, promoted_by, joined_seq, joined_epoch, left_how)
    SELECT convo_id, did, device_id, m = 0, false, '', 1, 1, '' FROM places
), devices AS (
    INSERT INTO keypackages_device (id, did, device_uuid, name, signature_key)
    SELECT DISTINCT device_id, did, '', 'phone', decode(device_id, 'hex') FROM places
)
INSERT INTO delivery_mailbox (convo_id, did, device_id, first_seq, acked_seq, read_seq)
SELECT convo_id, did, device_id, 2, 0, 0 FROM places
"""
# In the order of the logs, as years would have written them.
ENTRIES = """
INSERT INTO conversations_message (convo_id, seq, epoch, kind, msg_id, sender_tag, sender_did, body, size, received_at)
SELECT md5(%(crowd)s || n), seq, 1, CASE seq WHEN 1 THEN 'commit' ELSE 'app' END, md5(n || '-' || seq), %(tag)s,
       CASE seq WHEN 1 THEN %(dids)s || '0' ELSE '' END, %(body)s, %(size)s, clock_timestamp()
  FROM generate_series(1, %(convos)s) n, generate_series(1, %(entries)s) seq
"""


@dataclass(frozen=True)
class Crowd:
    """Planted convos; ``shared`` ones have the same accounts in all."""

    ids: list[str]
    dids: str
    members: int
    shared: bool

    def did(self, convo: int = 0, member: int = 0) -> str:
        return f"{self.dids}{'' if self.shared else f'{convo + 1}-'}{member}"


def plant(
    held: "psycopg.Connection[Any]",
    *,
    convos: int = 1,
    members: int = 2,
    entries: int = FIRST_ENTRIES,
    shared: bool = False,
    body_bytes: int = BODY_BYTES,
) -> Crowd:
    """So many convos with so many entries each; the database knows its sizes afterwards."""
    crowd = uuid4().hex[:12]
    dids = f"did:plc:{crowd}x"
    given = {
        "crowd": crowd, "dids": dids, "convos": convos, "members": members, "entries": entries, "shared": shared,
        "suite": SUITE, "tag": bytes(32), "body": bytes(body_bytes), "size": body_bytes,
    }  # fmt: skip
    for statement in (CONVOS, PLACES, ENTRIES):
        held.execute(statement, given)
    held.execute("ANALYZE")
    found = held.execute("SELECT md5(%s || n) FROM generate_series(1, %s) n", [crowd, convos]).fetchall()
    return Crowd([convo_id for (convo_id,) in found], dids, members, shared)


def ciphertext(convo_id: str, *, size: int) -> bytes:
    """A real message of the convo's group and epoch, of about so many bytes."""
    group = Phone("did:plc:sender").new_group(bytes.fromhex(convo_id))
    for _ in range(EPOCH):
        group.commit(update=True)
        group.confirm()
    framing = len(group.encrypt(b""))
    return group.encrypt(bytes(max(0, size - framing)))
