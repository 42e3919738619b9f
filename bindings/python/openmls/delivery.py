"""What a delivery service may know of MLS: messages, key packages, Welcomes, GroupInfos, the public half of a group.

Bytes in, frozen objects out. Nothing here can read a message or holds a secret of a group. Every function checks sizes
and counts tree nodes before it parses, releases the interpreter lock while it works, may be called from any thread, and
raises ``openmls.MlsError`` and nothing else about its input.
"""

from openmls._native import (
    AddedMember,
    CommitInfo,
    ExternalSigner,
    GroupInfoView,
    KeyPackageInfo,
    Limits,
    MemberInfo,
    MessageInfo,
    Policy,
    ProposalInfo,
    ProposedMember,
    PublicGroup,
    RemovedMember,
    UpdatedMember,
    WelcomeInfo,
    group_info,
    key_package,
    peek,
    verify_group_info,
    welcome,
)

__all__ = [
    "AddedMember",
    "CommitInfo",
    "ExternalSigner",
    "GroupInfoView",
    "KeyPackageInfo",
    "Limits",
    "MemberInfo",
    "MessageInfo",
    "Policy",
    "ProposalInfo",
    "ProposedMember",
    "PublicGroup",
    "RemovedMember",
    "UpdatedMember",
    "WelcomeInfo",
    "group_info",
    "key_package",
    "peek",
    "verify_group_info",
    "welcome",
]
