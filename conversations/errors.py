from typing import Any

from catbird_mls.xrpc.errors import XrpcError


class NotAdmin(XrpcError):
    status = 403


class ConvoNotFound(XrpcError):
    """Told to former members of a closed convo only."""

    status = 404


class ConvoAlreadyExists(XrpcError):
    status = 409


class AlreadyMember(XrpcError):
    status = 409


class Conflict(XrpcError):
    """Carries where the convo stands, so that the loser of a race can go on from the answer."""

    status = 409

    def __init__(self, message: str, *, current_epoch: int, **extra: Any) -> None:
        super().__init__(message, currentEpoch=current_epoch, **extra)


class EpochMismatch(Conflict):
    pass


class IdempotencyConflict(Conflict):
    """The same key or msgId was used before for something else."""


class InvalidCommit(XrpcError):
    """The message starts with the stable code of the rule that was broken."""


class InvalidGroupInfo(XrpcError):
    pass


class GroupInfoUnavailable(XrpcError):
    status = 404


class Unauthorized(XrpcError):
    """One text for every reason not to let somebody back in, so that a stranger learns nothing."""

    status = 403

    def __init__(self) -> None:
        super().__init__("You may not join this conversation by yourself.")


class InvalidMessage(XrpcError):
    pass


class InvalidAsset(XrpcError):
    pass


class InvalidEpochRange(XrpcError):
    pass


class MessageTooLarge(XrpcError):
    status = 413


class TooManyMembers(XrpcError):
    pass


class NoActiveMembers(XrpcError):
    status = 409


class NotClaimed(XrpcError):
    status = 409


class CannotRemoveSelf(XrpcError):
    pass
