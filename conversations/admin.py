"""Staff look here; nothing of the log can be changed, and no ciphertext, key or token is shown."""

from typing import ClassVar

from django.contrib import admin

from catbird_mls.staff import ReadOnlyAdmin
from conversations.models import Answer, Convo, GroupState, Member, Message, Proposal


@admin.register(Convo)
class ConvoAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["id", "mode", "epoch", "last_seq", "creator_did", "created_at", "last_message_at"]
    list_filter: ClassVar = ["mode", "cipher_suite"]
    search_fields: ClassVar = ["id", "creator_did"]
    exclude: ClassVar = ["group_id"]


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        "did",
        "device_id",
        "convo",
        "leaf_index",
        "is_admin",
        "joined_at",
        "leaving_at",
        "left_how",
    ]
    list_filter: ClassVar = ["left_how", "is_admin"]
    list_select_related: ClassVar = ["convo"]
    search_fields: ClassVar = ["did", "device_id", "convo__id"]


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo", "seq", "kind", "epoch", "size", "received_at"]
    list_filter: ClassVar = ["kind"]
    list_select_related: ClassVar = ["convo"]
    search_fields: ClassVar = ["convo__id"]
    exclude: ClassVar = ["body", "sender_tag"]


@admin.register(GroupState)
class GroupStateAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo", "epoch", "updated_at"]
    list_select_related: ClassVar = ["convo"]
    search_fields: ClassVar = ["convo__id"]
    exclude: ClassVar = ["ratchet_tree", "group_context", "confirmation_tag", "group_info"]


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo", "seq", "epoch", "removes_leaf"]
    list_select_related: ClassVar = ["convo"]
    exclude: ClassVar = ["reference"]


@admin.register(Answer)
class AnswerAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo", "nsid", "did", "created_at"]
    list_select_related: ClassVar = ["convo"]
    exclude: ClassVar = ["digest", "answer", "key"]
