import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

STABLE_CODE = re.compile(r"[a-z_]+\.[a-z_]+")


class XrpcError(Exception):
    """An error a caller is told by name.

    The wire's ``error`` is the class name, so there is no table to keep. The message is a sentence
    without ciphertext, keys or tokens. ``extra`` holds further members of the body, such as
    ``currentEpoch`` on a conflict.
    """

    status: ClassVar[int] = 400
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra

    @property
    def code(self) -> str:
        """The stable code of the rule that was broken, with which the message then begins; else the name."""
        code, colon, _ = self.message.partition(":")
        return code if colon and STABLE_CODE.fullmatch(code) else type(self).__name__

    def body(self) -> dict[str, Any]:
        return {"error": type(self).__name__, "message": self.message, **self.extra}


class InvalidRequest(XrpcError):
    pass


class AuthenticationRequired(XrpcError):
    status = 401
    headers = MappingProxyType({"WWW-Authenticate": "Bearer"})


class InvalidToken(AuthenticationRequired):
    pass


class ExpiredToken(AuthenticationRequired):
    pass


class Forbidden(XrpcError):
    status = 403


class InvalidCursor(XrpcError):
    def __init__(self) -> None:
        super().__init__("Not a cursor of this server.")


class NotMember(XrpcError):
    """One text for "no such convo" and "not yours", so that a stranger learns nothing."""

    status = 403

    def __init__(self) -> None:
        super().__init__("You are not a member of this conversation.")


class PayloadTooLarge(XrpcError):
    status = 413


class RateLimitExceeded(XrpcError):
    status = 429

    def __init__(self, message: str, *, retry_after: int, limits: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after), **limits}


class NotEnoughResources(XrpcError):
    status = 503


class InternalServerError(XrpcError):
    status = 500


class MethodNotImplemented(XrpcError):
    status = 501


GENERIC_NAMES = frozenset(
    kind.__name__
    for kind in (
        InvalidRequest,
        AuthenticationRequired,
        InvalidToken,
        ExpiredToken,
        Forbidden,
        PayloadTooLarge,
        NotEnoughResources,
        RateLimitExceeded,
        InternalServerError,
        MethodNotImplemented,
    )
)
