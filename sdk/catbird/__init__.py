"""A client for ``blue.catbird.mls``: end-to-end encrypted conversations over MLS."""

from pathlib import Path

from catbird.auth import Auth, DevAuth
from catbird.catchup import SyncReport
from catbird.client import Client, Device
from catbird.conversation import Conversation, Member
from catbird.errors import (
    CatbirdError,
    CommitLost,
    ConvoInactive,
    EpochMismatch,
    Gone,
    InvalidCommit,
    KeyPackageNotFound,
    NoKeyPackages,
    NotFound,
    NotMember,
    RateLimited,
    StoreError,
    Unavailable,
    XrpcError,
)
from catbird.rows import Message, State

__all__ = [
    "Auth",
    "CatbirdError",
    "Client",
    "CommitLost",
    "Conversation",
    "ConvoInactive",
    "DevAuth",
    "Device",
    "EpochMismatch",
    "Gone",
    "InvalidCommit",
    "KeyPackageNotFound",
    "Member",
    "Message",
    "NoKeyPackages",
    "NotFound",
    "NotMember",
    "RateLimited",
    "State",
    "StoreError",
    "SyncReport",
    "Unavailable",
    "XrpcError",
    "open",
]


def open(path: str | Path, *, server: str, auth: Auth) -> Client:
    """The device kept in ``path``, made there when the file does not exist. Use it with ``async with``."""
    return Client(path, server, auth)
