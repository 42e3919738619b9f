"""MLS structures made by hand, for what no honest client would make (RFC 9420's encodings)."""

import hashlib
import os
import struct
import time
from collections.abc import Sequence

from openmls.client import Signer
from openmls.delivery import GroupInfoView, PublicGroup

SELF_REMOVE = 10
MEMBER, EXTERNAL, NEW_MEMBER_PROPOSAL = 1, 2, 3
PROPOSAL, COMMIT = 2, 3
ADD, UPDATE, REMOVE, PSK, REINIT, EXTENSIONS = 1, 2, 3, 4, 5, 7


def u16(number: int) -> bytes:
    return struct.pack(">H", number)


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def u64(number: int) -> bytes:
    return struct.pack(">Q", number)


def vector(data: bytes) -> bytes:
    length = len(data)
    if length < 64:
        return bytes([length]) + data
    if length < 16384:
        return u16(0x4000 | length) + data
    return u32(0x80000000 | length) + data


def numbers(values: Sequence[int]) -> bytes:
    return vector(b"".join(u16(value) for value in values))


def signed(signer: Signer, label: bytes, content: bytes) -> bytes:
    """SignWithLabel (section 5.1.2), as a vector."""
    return vector(signer.sign(vector(b"MLS 1.0 " + label) + vector(content)))


def leaf_node(
    signer: Signer,
    identity: bytes,
    source: bytes,
    context: bytes = b"",
    *,
    encryption_key: bytes | None = None,
    versions: Sequence[int] = (1,),
    suites: Sequence[int] = (1,),
    extension_types: Sequence[int] = (SELF_REMOVE,),
    proposals: Sequence[int] = (SELF_REMOVE,),
    credentials: Sequence[int] = (1,),
    extensions: bytes = b"",
) -> bytes:
    capabilities = b"".join(numbers(x) for x in (versions, suites, extension_types, proposals, credentials))
    body = (
        vector(encryption_key or os.urandom(32))
        + vector(signer.public)
        + u16(1)
        + vector(identity)
        + capabilities
        + source
        + vector(extensions)
    )
    return body + signed(signer, b"LeafNodeTBS", body + context)


def key_package(
    signer: Signer,
    identity: bytes,
    *,
    init_key: bytes | None = None,
    lifetime: tuple[int, int] | None = None,
    package_extensions: bytes = b"",
    **leaf: object,
) -> bytes:
    not_before, not_after = lifetime or (int(time.time()) - 3600, int(time.time()) + 86400)
    source = b"\1" + u64(not_before) + u64(not_after)
    node = leaf_node(signer, identity, source, **leaf)  # type: ignore[arg-type]
    body = u16(1) + u16(1) + vector(init_key or os.urandom(32)) + node + vector(package_extensions)
    return body + signed(signer, b"KeyPackageTBS", body)


def update_leaf(group: PublicGroup, leaf: int, signer: Signer, identity: bytes, **more: object) -> bytes:
    return leaf_node(signer, identity, b"\2", vector(group.group_id) + u32(leaf), **more)  # type: ignore[arg-type]


def framed(
    group: PublicGroup,
    signer: Signer,
    content_type: int,
    content: bytes,
    *,
    leaf: int = 0,
    sender: int = MEMBER,
    epoch: int | None = None,
) -> bytes:
    """A PublicMessage; its tags are noise, which only members can notice."""
    index = u32(leaf) if sender in (MEMBER, EXTERNAL) else b""
    epoch_bytes = u64(group.epoch if epoch is None else epoch)
    head = vector(group.group_id) + epoch_bytes + bytes([sender]) + index + vector(b"")
    body = head + bytes([content_type]) + content
    context = group.group_context() if sender == MEMBER else b""
    message = body + signed(signer, b"FramedContentTBS", u16(1) + u16(1) + body + context)
    if content_type == COMMIT:
        message += vector(os.urandom(32))
    if sender == MEMBER:
        message += vector(os.urandom(32))
    return u16(1) + u16(1) + message


def proposal(group: PublicGroup, signer: Signer, kind: int, body: bytes, **how: int) -> bytes:
    return framed(group, signer, PROPOSAL, u16(kind) + body, **how)


def commit(group: PublicGroup, signer: Signer, *proposals: bytes, **how: int) -> bytes:
    """A commit without a path; each proposal begins with its type."""
    inline = b"".join(b"\1" + encoded for encoded in proposals)
    return framed(group, signer, COMMIT, vector(inline) + b"\0", **how)


def psk_body() -> bytes:
    return b"\1" + vector(b"shared before") + vector(bytes(32))


def reinit_body() -> bytes:
    return vector(b"next group") + u16(1) + u16(1) + vector(b"")


def external_pub(key: bytes) -> bytes:
    return u16(4) + vector(vector(key))


def group_info(
    view: GroupInfoView,
    signer: Signer,
    *,
    signer_index: int | None = None,
    confirmation_tag: bytes | None = None,
    group_context: bytes | None = None,
    extensions: bytes | None = None,
) -> bytes:
    """The GroupInfo that ``view`` shows, with these things changed and signed again."""
    body = (
        (group_context or view.group_context)
        + vector(external_pub(view.external_pub or b"") if extensions is None else extensions)
        + vector(view.confirmation_tag if confirmation_tag is None else confirmation_tag)
        + u32(view.signer if signer_index is None else signer_index)
    )
    return u16(1) + u16(4) + body + signed(signer, b"GroupInfoTBS", body)


def group_of_one(signer: Signer, identity: bytes, **leaf: object) -> tuple[bytes, bytes]:
    """A GroupInfo and a tree, at epoch 0."""
    source = b"\1" + u64(int(time.time()) - 3600) + u64(int(time.time()) + 86400)
    node = b"\1" + leaf_node(signer, identity, source, **leaf)  # type: ignore[arg-type]
    tree_hash = hashlib.sha256(b"\1" + u32(0) + b"\1" + node[1:]).digest()
    context = u16(1) + u16(1) + vector(b"room-1") + u64(0) + vector(tree_hash) + vector(b"") + vector(b"")
    body = context + vector(external_pub(os.urandom(32))) + vector(os.urandom(32)) + u32(0)
    return u16(1) + u16(4) + body + signed(signer, b"GroupInfoTBS", body), vector(b"\1" + node)
