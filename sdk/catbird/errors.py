"""Errors by name. A subclass exists only where code takes another way because of it."""

import re
from typing import ClassVar

from catbird.wire import Json


class CatbirdError(Exception):
    """Anything this package refuses or cannot do."""


class XrpcError(CatbirdError):
    """An answer other than success; ``name`` is the lexicon's."""

    status: int
    name: str
    message: str
    body: Json
    names: ClassVar[frozenset[str]] = frozenset()
    statuses: ClassVar[frozenset[int]] = frozenset()

    def __init__(self, status: int, name: str, message: str, body: Json | None = None) -> None:
        super().__init__(f"{status} {name}: {message}")
        self.status = status
        self.name = name
        self.message = message
        self.body = body or {}


class EpochMismatch(XrpcError):
    """The convo is in another epoch: catch up, build again, retry."""

    names = frozenset({"EpochMismatch"})

    @property
    def current_epoch(self) -> int | None:
        epoch = self.body.get("currentEpoch")
        return epoch if isinstance(epoch, int) else None


class NotMember(XrpcError):
    """This device has no place in the convo, or there is no such convo."""

    names = frozenset({"NotMember"})


class Gone(XrpcError):
    """It was there and will not come back: a Welcome that was used, a range of the log that was deleted."""

    names = frozenset({"WelcomeConsumed", "OutdatedCursor"})


class NotFound(XrpcError):
    """There is none, says the service itself: a bare 404 may be a proxy's and must not end a membership."""

    names = frozenset({"WelcomeNotFound", "ConvoNotFound"})


class GroupInfoUnavailable(XrpcError):
    """Nobody has given the server what a device needs to come in by itself."""

    names = frozenset({"GroupInfoUnavailable"})


class NotAdmin(XrpcError):
    """Only an admin of the convo may do this."""

    names = frozenset({"NotAdmin"})


class TooManyKeyPackages(XrpcError):
    """The directory has as many packages of this device as it takes."""

    names = frozenset({"TooManyKeyPackages"})


class KeyPackageNotFound(XrpcError):
    """A package was spent by somebody else in the meantime; ``hash`` says which."""

    names = frozenset({"KeyPackageNotFound"})

    @property
    def hash(self) -> str | None:
        found = re.search(r"hash=([0-9a-f]+)", self.message)
        return found.group(1) if found else None


class InvalidCommit(XrpcError):
    """The content of a commit was refused; the message carries a stable code."""

    names = frozenset({"InvalidCommit"})

    @property
    def left_out_removal(self) -> bool:
        """A removal that was proposed meanwhile has to be part of the commit."""
        return "commit.pending_removal_left_out" in f"{self.message} {self.body.get('code', '')}"


class RateLimited(XrpcError):
    names = frozenset({"RateLimitExceeded"})
    statuses = frozenset({429})
    retry_after: float | None = None


class Unavailable(XrpcError):
    """No answer, or one that says nothing: the request may or may not have taken effect."""

    statuses = frozenset({500, 502, 503, 504})


_BRANCHES: tuple[type[XrpcError], ...] = (
    EpochMismatch, NotMember, Gone, NotFound, GroupInfoUnavailable, NotAdmin, TooManyKeyPackages,
    KeyPackageNotFound, InvalidCommit, RateLimited, Unavailable,
)  # fmt: skip


def xrpc_error(status: int, body: Json) -> XrpcError:
    """The error of an answer. The name decides; the status stands in for a name nobody branches on."""
    name = str(body.get("error", "Unknown"))
    message = str(body.get("message", ""))
    for branch in _BRANCHES:
        if name in branch.names:
            return branch(status, name, message, body)
    for branch in _BRANCHES:
        if status in branch.statuses:
            return branch(status, name, message, body)
    return XrpcError(status, name, message, body)


class NoKeyPackages(CatbirdError):
    """Accounts without a usable key package cannot be added."""

    def __init__(self, dids: list[str]) -> None:
        super().__init__(f"no usable key package of {', '.join(dids)}")
        self.dids = dids


class ConvoInactive(CatbirdError):
    """This device is not, or no longer, a member that can act."""


class CommitLost(CatbirdError):
    """Other commits won every time; the convo is in sync and the change may be tried again."""


class StoreError(CatbirdError):
    """The file of this device cannot be used."""
