from conversations.services.additions import claim_addition, complete_addition
from conversations.services.asking import ask_for_group_info, ask_for_readdition, ask_to_rejoin, give_up_welcome
from conversations.services.bundle import CommitBundle
from conversations.services.commits import add_members, remove_member
from conversations.services.create import NewConvo, create_convo
from conversations.services.devices import (
    delete_device,
    register_device,
    register_push_token,
    unregister_push_tokens,
)
from conversations.services.external import process_external_commit
from conversations.services.group_info import read_group_info, update_group_info
from conversations.services.leaving import leave_convo
from conversations.services.marking import open_subscription, update_cursor, update_read
from conversations.services.messages import append_message, pass_on_message
from conversations.services.welcomes import fetch_welcome, settle_welcome

__all__ = [
    "CommitBundle",
    "NewConvo",
    "add_members",
    "append_message",
    "ask_for_group_info",
    "ask_for_readdition",
    "ask_to_rejoin",
    "claim_addition",
    "complete_addition",
    "create_convo",
    "delete_device",
    "fetch_welcome",
    "give_up_welcome",
    "leave_convo",
    "open_subscription",
    "pass_on_message",
    "process_external_commit",
    "read_group_info",
    "register_device",
    "register_push_token",
    "remove_member",
    "settle_welcome",
    "unregister_push_tokens",
    "update_cursor",
    "update_group_info",
    "update_read",
]
