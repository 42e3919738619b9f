"""Rows as the wire shows them."""

from collections.abc import Sequence
from typing import Any

from catbird_mls.xrpc.fields import wire_bytes, wire_time
from conversations.models import Convo, Member, Message
from keypackages.selectors import device_names

PAGE_MAX_BYTES = 8 * 1024 * 1024


def convo_views(convos: Sequence[Convo]) -> list[dict[str, Any]]:
    """defs#convoView of each, with every device in the roster; three queries however many convos there are."""
    rosters: dict[str, list[Member]] = {convo.pk: [] for convo in convos}
    members = Member.objects.filter(convo_id__in=rosters, left_at__isnull=True, leaving_at__isnull=True)
    for member in members.order_by("joined_seq", "pk"):
        rosters[member.convo_id].append(member)
    names = device_names({member.device_id for roster in rosters.values() for member in roster if member.device_id})
    return [_convo_view(convo, rosters[convo.pk], names) for convo in convos]


def message_view(message: Message) -> dict[str, Any]:
    """defs#messageView; it names no sender, because MLS does."""
    return {
        "id": message.msg_id,
        "convoId": message.convo_id,
        "ciphertext": wire_bytes(bytes(message.body)),
        "epoch": message.epoch,
        "seq": message.seq,
        "createdAt": wire_time(message.received_at),
        "messageType": message.kind,
    }


def commit_view(commit: Message) -> dict[str, Any]:
    """getCommits#commitMessage, with the epoch the commit leads to."""
    return {
        "epoch": commit.epoch,
        "sender": commit.sender_did,
        "commitData": wire_bytes(bytes(commit.body)),
        "createdAt": wire_time(commit.received_at),
    }


def cut_by_bytes(messages: Sequence[Message], most: int | None = None) -> list[Message]:
    """At least one entry, then as many as fit a page's bytes."""
    kept: list[Message] = []
    size = 0
    for message in messages:
        size += message.size
        if kept and size > (most or PAGE_MAX_BYTES):
            break
        kept.append(message)
    return kept


def _convo_view(convo: Convo, roster: Sequence[Member], names: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": convo.name or None, "description": convo.description or None}
    return {
        "groupId": convo.pk,
        "creator": convo.creator_did,
        "members": [_member_view(member, names) for member in roster],
        "epoch": convo.epoch,
        "cipherSuite": convo.cipher_suite,
        "createdAt": wire_time(convo.created_at),
        "lastMessageAt": wire_time(convo.last_message_at) if convo.last_message_at else None,
        "metadata": metadata if any(metadata.values()) else None,
        "mode": convo.mode,
        "lastSeq": convo.last_seq,
    }


def _member_view(member: Member, names: dict[str, str]) -> dict[str, Any]:
    return {
        "did": member.did,
        "userDid": member.did,
        "deviceId": member.device_id or None,
        "deviceName": names.get(member.device_id),
        "joinedAt": wire_time(member.joined_at),
        "isAdmin": member.is_admin,
        "isModerator": member.is_moderator,
        "promotedAt": wire_time(member.promoted_at) if member.promoted_at else None,
        "promotedBy": member.promoted_by or None,
        "leafIndex": member.leaf_index,
    }
