from collections.abc import Sequence
from dataclasses import dataclass

from keypackages.errors import InvalidWelcome


@dataclass(frozen=True, slots=True)
class CommitBundle:
    """A commit and what its author sent with it."""

    commit: bytes
    welcomes: Sequence[bytes] = ()
    group_info: bytes | None = None
    # The KeyPackageRefs the client says it used; deployed clients often say nothing.
    claimed: Sequence[bytes] = ()


def require_claims(claimed: Sequence[bytes], references: Sequence[bytes]) -> None:
    """What the client says it used must be what its Welcomes were made for."""
    if claimed and set(claimed) != set(references):
        raise InvalidWelcome("welcome.claims_mismatch: keyPackageHashes are not the references in the Welcome.")
