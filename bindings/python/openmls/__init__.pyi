"""Messaging Layer Security (RFC 9420) for Python, by OpenMLS.

``openmls.delivery`` reads and follows what a delivery service may see; it holds no secret of any group.
``openmls.client`` is a member's half: groups, keys and messages.
"""

from typing import Final

__all__ = ["ERROR_CODES", "MlsError", "versions"]

ERROR_CODES: Final[frozenset[str]]
"""Every value ``MlsError.code`` can take. The README says what each one means."""

class MlsError(Exception):
    """The one exception of this package: something was refused, and ``code`` says why.

    ``str(error)`` is ``"<code>: <detail>"``.
    """

    code: str
    """Stable and dotted, for example ``decode.truncated``; one of ``ERROR_CODES``."""

    detail: str
    """A sentence for people. Never holds message content, identities or keys."""

    retryable: bool
    """The same input may be accepted later, or after catching up (another epoch, a clock that runs ahead)."""

def versions() -> dict[str, str]:
    """The versions of this package (``openmls-py``) and of OpenMLS (``openmls``), and the cargo features it was built with."""
