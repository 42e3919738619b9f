from django.urls import path

from conversations.xrpc.add_members import AddMembers
from conversations.xrpc.claim_pending_device_addition import ClaimPendingDeviceAddition
from conversations.xrpc.complete_pending_device_addition import CompletePendingDeviceAddition
from conversations.xrpc.confirm_welcome import ConfirmWelcome
from conversations.xrpc.create_convo import CreateConvo
from conversations.xrpc.delete_device import DeleteDevice
from conversations.xrpc.get_commits import GetCommits
from conversations.xrpc.get_convos import GetConvos
from conversations.xrpc.get_epoch import GetEpoch
from conversations.xrpc.get_expected_conversations import GetExpectedConversations
from conversations.xrpc.get_group_info import GetGroupInfo
from conversations.xrpc.get_messages import GetMessages
from conversations.xrpc.get_pending_device_additions import GetPendingDeviceAdditions
from conversations.xrpc.get_subscription_ticket import GetSubscriptionTicket
from conversations.xrpc.get_welcome import GetWelcome
from conversations.xrpc.group_info_refresh import GroupInfoRefresh
from conversations.xrpc.invalidate_welcome import InvalidateWelcome
from conversations.xrpc.leave_convo import LeaveConvo
from conversations.xrpc.process_external_commit import ProcessExternalCommit
from conversations.xrpc.readdition import Readdition
from conversations.xrpc.register_device import RegisterDevice
from conversations.xrpc.register_device_token import RegisterDeviceToken
from conversations.xrpc.rejoin import Rejoin, RequestRejoin
from conversations.xrpc.remove_member import RemoveMember
from conversations.xrpc.send_message import SendMessage
from conversations.xrpc.unregister_device_token import UnregisterDeviceToken
from conversations.xrpc.update_cursor import UpdateCursor
from conversations.xrpc.update_group_info import UpdateGroupInfo
from conversations.xrpc.update_read import UpdateRead
from conversations.xrpc.validate_device_state import ValidateDeviceState

ENDPOINTS = [
    RegisterDeviceToken,
    UnregisterDeviceToken,
    GetSubscriptionTicket,
    UpdateCursor,
    UpdateRead,
    ValidateDeviceState,
    UpdateGroupInfo,
    GetExpectedConversations,
    InvalidateWelcome,
    GroupInfoRefresh,
    Rejoin,
    RequestRejoin,
    Readdition,
    ProcessExternalCommit,
    GetGroupInfo,
    CompletePendingDeviceAddition,
    ClaimPendingDeviceAddition,
    GetPendingDeviceAdditions,
    RegisterDevice,
    DeleteDevice,
    AddMembers,
    ConfirmWelcome,
    CreateConvo,
    GetCommits,
    GetConvos,
    GetEpoch,
    GetMessages,
    GetWelcome,
    LeaveConvo,
    RemoveMember,
    SendMessage,
]

urlpatterns = [path(endpoint.nsid, endpoint.as_view()) for endpoint in ENDPOINTS]
