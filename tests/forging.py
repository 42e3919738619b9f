"""MLS messages no honest device makes, for a group the server follows; the encodings are those of the binding's tests.

Only for suite 1, whose signatures, tags and hashes have one length each.
"""

import hashlib
import os
from dataclasses import dataclass, replace

from openmls.client import Signer
from openmls.delivery import PublicGroup, group_info

from bindings.tests import craft
from bindings.tests.craft import u16, u32, u64, vector

EXTERNAL_INIT, NEW_MEMBER_COMMIT = 6, 4
RATCHET_TREE = 2
PUBLIC_MESSAGE = u16(1) + u16(1)
GROUP_INFO_MESSAGE = u16(1) + u16(4)
SIGNATURE_BYTES, TAG_BYTES = 66, 33


class Reader:
    """Walks over an encoding."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def vector(self) -> bytes:
        """The content of a vector; its length is a variable-size integer (RFC 9420, section 2.1.2)."""
        size = 1 << (self.data[self.at] >> 6)
        length = int.from_bytes(self.bytes(size), "big") & ((1 << (8 * size - 2)) - 1)
        return self.bytes(length)

    def leaf(self) -> tuple[bytes, bytes]:
        """What stands before and after the identity in a leaf with a basic credential, without the signature."""
        start = self.at
        self.vector(), self.vector(), self.bytes(2)
        before = self.data[start : self.at]
        self.vector()
        middle = self.at
        for _ in range(5):
            self.vector()
        if (source := self.bytes(1)) == b"\1":
            self.bytes(16)
        elif source == b"\3":
            self.vector()
        self.vector()
        after = self.data[middle : self.at]
        self.vector()
        return before, after


@dataclass(frozen=True)
class Parts:
    """A commit taken apart (RFC 9420, sections 6 and 12.4), to be changed and signed again."""

    head: bytes
    proposals: bytes
    path: bytes
    tags: bytes

    @classmethod
    def of(cls, commit: bytes) -> "Parts":
        reader = Reader(commit, len(PUBLIC_MESSAGE))
        reader.vector(), reader.bytes(8)
        by_member = reader.bytes(1) == b"\1"
        reader.bytes(4 if by_member else 0), reader.vector(), reader.bytes(1)
        head = commit[len(PUBLIC_MESSAGE) : reader.at]
        proposals = reader.vector()
        tags = len(commit) - TAG_BYTES * (2 if by_member else 1)
        return cls(head, proposals, commit[reader.at : tags - SIGNATURE_BYTES], commit[tags:])

    def signed(self, signer: Signer, group: PublicGroup) -> bytes:
        content = PUBLIC_MESSAGE + self.head + vector(self.proposals) + self.path
        return content + craft.signed(signer, b"FramedContentTBS", content + group.group_context()) + self.tags


def with_proposal(commit: bytes, signer: Signer, group: PublicGroup, proposal: bytes) -> bytes:
    """The commit with one more proposal in it."""
    parts = Parts.of(commit)
    return replace(parts, proposals=parts.proposals + b"\1" + proposal).signed(signer, group)


def with_identity(commit: bytes, signer: Signer, group: PublicGroup, *, leaf: int, identity: bytes) -> bytes:
    """The commit with another credential in the leaf of its path."""
    parts = Parts.of(commit)
    reader = Reader(parts.path, 1)
    before, after = reader.leaf()
    body = before + vector(identity) + after
    signature = craft.signed(signer, b"LeafNodeTBS", body + vector(group.group_id) + u32(leaf))
    path = b"\1" + body + signature + parts.path[reader.at :]
    return replace(parts, path=path).signed(signer, group)


def taking_the_second_leaf(group: PublicGroup, signer: Signer, identity: bytes) -> bytes:
    """An external commit that puts the second of two members out and sits down in its place."""
    path_key = os.urandom(32)
    first = Reader(Reader(group.ratchet_tree()).vector(), 2)
    first.leaf()
    sibling = hashlib.sha256(b"\1" + u32(0) + b"\1" + first.data[2 : first.at]).digest()
    parent_hash = hashlib.sha256(vector(path_key) + vector(b"") + vector(sibling)).digest()
    where = vector(group.group_id) + u32(1)
    leaf = craft.leaf_node(signer, identity, b"\3" + vector(parent_hash), where)
    secret = vector(os.urandom(32)) + vector(os.urandom(48))
    wanted = [u16(EXTERNAL_INIT) + vector(os.urandom(32)), u16(craft.REMOVE) + u32(1)]
    parts = Parts(
        head=vector(group.group_id)
        + u64(group.epoch)
        + bytes([NEW_MEMBER_COMMIT])
        + vector(b"")
        + bytes([craft.COMMIT]),
        proposals=b"".join(b"\1" + one for one in wanted),
        path=b"\1" + leaf + vector(vector(path_key) + vector(secret)),
        tags=vector(os.urandom(32)),
    )
    return parts.signed(signer, group)


def group_info_for(group: PublicGroup, commit: bytes, signer: Signer) -> bytes:
    """The GroupInfo that belongs to a commit, worked out the way the server does."""
    info, _ = group.process_commit(commit)
    key = craft.external_pub(os.urandom(32))
    body = info.group_context + vector(key) + vector(info.confirmation_tag) + u32(info.committer)
    return GROUP_INFO_MESSAGE + body + craft.signed(signer, b"GroupInfoTBS", body)


def changed_group_info(data: bytes, signer: Signer, **changes: object) -> bytes:
    """A GroupInfo with something changed, signed again."""
    return craft.group_info(group_info(data), signer, **changes)  # type: ignore[arg-type]


def flipped(data: bytes, place: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)
