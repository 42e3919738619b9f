"""What a delivery service may know of MLS: messages, key packages, Welcomes, GroupInfos, the public half of a group.

Bytes in, frozen objects out. Nothing here can read a message or holds a secret of a group. Every function checks sizes
and counts tree nodes before it parses, releases the interpreter lock while it works, may be called from any thread, and
raises ``openmls.MlsError`` and nothing else about its input.

Codes that any function may raise: ``decode.*`` (not the encoding it should be), ``unsupported.version``,
``unsupported.ciphersuite``, ``limit.*`` (too large). Times are unix seconds, durations seconds, sizes bytes. Leaf
indices count leaves, as in RFC 9420 section 7.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, final

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

@final
class Limits:
    """How large the things may be that a call accepts."""

    def __new__(
        cls,
        *,
        max_message_bytes: int = 4194304,
        max_tree_bytes: int = 8388608,
        max_members: int = 2000,
        max_pending_proposals: int = 256,
        max_pending_proposals_per_member: int = 32,
        max_lifetime_seconds: int = 34560000,
        ciphersuites: Sequence[int] = (1, 2, 3),
    ) -> Limits: ...
    @property
    def max_message_bytes(self) -> int:
        """Of a PublicMessage, PrivateMessage or key package (``limit.message_size``)."""

    @property
    def max_tree_bytes(self) -> int:
        """Of a ratchet tree (``limit.tree_size``), a GroupInfo or a Welcome (``limit.message_size``)."""

    @property
    def max_members(self) -> int:
        """Occupied leaves (``limit.members``).

        A tree may have at most twice the next power of two nodes (``limit.tree_nodes``), counted before parsing: a
        blank node is one byte to send and hundreds to hold.
        """

    @property
    def max_pending_proposals(self) -> int:
        """Pending proposals of one epoch together (``limit.pending_proposals``)."""

    @property
    def max_pending_proposals_per_member(self) -> int:
        """Pending proposals of one epoch by one member (``limit.pending_proposals``)."""

    @property
    def max_lifetime_seconds(self) -> int:
        """How far ahead of now a key package may end (``key_package.lifetime_too_long``)."""

    @property
    def ciphersuites(self) -> tuple[int, ...]:
        """Suites accepted (``unsupported.ciphersuite``); 1, 2 and 3 are all that exist here."""

@final
class Policy:
    """What a group is allowed to do beyond what every delivery service must refuse."""

    def __new__(
        cls,
        *,
        allow_custom: bool = False,
        allow_reinit: bool = False,
        allow_psk: bool = True,
        allow_external_join: bool = True,
        credential_may_change: bool = False,
        require_group_info: bool = False,
    ) -> Policy: ...
    @property
    def allow_custom(self) -> bool:
        """Proposals of a type unknown here; their effect cannot be followed (``policy.custom_proposal``)."""

    @property
    def allow_reinit(self) -> bool:
        """ReInit proposals; the group goes on as if nothing had been proposed (``policy.reinit``)."""

    @property
    def allow_psk(self) -> bool:
        """PreSharedKey proposals, which only members can check (``policy.psk``)."""

    @property
    def allow_external_join(self) -> bool:
        """External commits, and proposals of strangers to be added (``policy.external_join``)."""

    @property
    def credential_may_change(self) -> bool:
        """A member may take another credential (``policy.credential_changed``)."""

    @property
    def require_group_info(self) -> bool:
        """A commit must come with the GroupInfo of the epoch it starts (``commit.missing_group_info``)."""

@final
class MessageInfo:
    """The outside of an MLSMessage (RFC 9420 section 6), nothing verified."""

    @property
    def wire_format(
        self,
    ) -> Literal["public_message", "private_message", "welcome", "group_info", "key_package"]: ...
    @property
    def group_id(self) -> bytes | None:
        """Of messages and GroupInfos."""

    @property
    def epoch(self) -> int | None:
        """Of messages and GroupInfos; of a commit, the epoch it was made in."""

    @property
    def content_type(self) -> Literal["application", "proposal", "commit"] | None:
        """Of messages."""

    @property
    def sender_type(self) -> Literal["member", "external", "new_member_proposal", "new_member_commit"] | None:
        """Of public messages; a private message hides it."""

    @property
    def sender_index(self) -> int | None:
        """Leaf index of a ``member``, place in the list of external senders of an ``external``."""

    @property
    def authenticated_data(self) -> bytes | None:
        """Of messages: the part that is signed but never encrypted."""

    @property
    def ciphersuite(self) -> int | None:
        """Of Welcomes, GroupInfos and key packages; any number, known here or not."""

@final
class KeyPackageInfo:
    """A valid KeyPackage (RFC 9420 section 10)."""

    @property
    def reference(self) -> bytes:
        """KeyPackageRef (RFC 9420 section 5.2), 32 bytes: the name it has in Welcomes and Adds."""

    @property
    def raw(self) -> bytes:
        """The KeyPackage as given, without an MLSMessage header."""

    @property
    def ciphersuite(self) -> int: ...
    @property
    def credential_type(self) -> int:
        """1 basic, 2 x509."""

    @property
    def identity(self) -> bytes | None:
        """Of a basic credential."""

    @property
    def signature_key(self) -> bytes: ...
    @property
    def init_key(self) -> bytes: ...
    @property
    def encryption_key(self) -> bytes: ...
    @property
    def not_before(self) -> int: ...
    @property
    def not_after(self) -> int: ...
    @property
    def last_resort(self) -> bool:
        """Marked as one that may be used more than once."""

    @property
    def ciphersuites(self) -> tuple[int, ...]:
        """Capabilities: suites."""

    @property
    def extensions(self) -> tuple[int, ...]:
        """Capabilities: extension types."""

    @property
    def proposals(self) -> tuple[int, ...]:
        """Capabilities: proposal types; 10 is SelfRemove."""

    @property
    def credentials(self) -> tuple[int, ...]:
        """Capabilities: credential types."""

@final
class WelcomeInfo:
    """The outside of a Welcome (RFC 9420 section 12.4.3.1)."""

    @property
    def ciphersuite(self) -> int: ...
    @property
    def references(self) -> tuple[bytes, ...]:
        """KeyPackageRefs of those it lets in, each once."""

@final
class GroupInfoView:
    """A GroupInfo (RFC 9420 section 12.4.3)."""

    @property
    def group_id(self) -> bytes: ...
    @property
    def epoch(self) -> int: ...
    @property
    def ciphersuite(self) -> int: ...
    @property
    def tree_hash(self) -> bytes: ...
    @property
    def confirmed_transcript_hash(self) -> bytes: ...
    @property
    def group_context(self) -> bytes:
        """The encoded GroupContext."""

    @property
    def confirmation_tag(self) -> bytes: ...
    @property
    def signer(self) -> int:
        """Leaf index of the member that signed."""

    @property
    def has_ratchet_tree(self) -> bool: ...
    @property
    def ratchet_tree(self) -> bytes | None:
        """The encoded tree of the ``ratchet_tree`` extension."""

    @property
    def external_pub(self) -> bytes | None:
        """Key for external commits; without it nobody can join by one."""

    @property
    def extension_types(self) -> tuple[int, ...]: ...

@final
class MemberInfo:
    """One occupied leaf of a group's tree."""

    @property
    def leaf_index(self) -> int: ...
    @property
    def identity(self) -> bytes | None:
        """Of a basic credential."""

    @property
    def credential_type(self) -> int: ...
    @property
    def signature_key(self) -> bytes: ...
    @property
    def encryption_key(self) -> bytes: ...
    @property
    def lifetime(self) -> tuple[int, int] | None:
        """``(not_before, not_after)`` while the leaf is still the one of its key package."""

    @property
    def proposals(self) -> tuple[int, ...]:
        """Capabilities: proposal types; 10 is SelfRemove."""

@final
class ProposedMember:
    """Whom an Add proposal would let in."""

    @property
    def reference(self) -> bytes:
        """KeyPackageRef."""

    @property
    def identity(self) -> bytes | None: ...
    @property
    def signature_key(self) -> bytes: ...

@final
class ProposalInfo:
    """A proposal waiting to be committed (RFC 9420 section 12.1)."""

    @property
    def kind(
        self,
    ) -> Literal[
        "add",
        "update",
        "remove",
        "self_remove",
        "psk",
        "reinit",
        "external_init",
        "group_context_extensions",
        "custom",
    ]: ...
    @property
    def sender_type(self) -> Literal["member", "external", "new_member_proposal", "new_member_commit"]: ...
    @property
    def sender_index(self) -> int | None:
        """Leaf index of a ``member``, place in the list of external senders of an ``external``."""

    @property
    def reference(self) -> bytes:
        """ProposalRef (RFC 9420 section 5.2): the name it has in ``CommitInfo.covered``."""

    @property
    def removed(self) -> int | None:
        """Leaf index that a Remove or SelfRemove would empty."""

    @property
    def added(self) -> ProposedMember | None:
        """Of an Add."""

    @property
    def new_signature_key(self) -> bytes | None:
        """Of an Update: the key the member would sign with, which may be the one it has."""

    @property
    def epoch(self) -> int: ...

@final
class AddedMember:
    """A member the commit let in."""

    @property
    def leaf_index(self) -> int: ...
    @property
    def reference(self) -> bytes | None:
        """KeyPackageRef it was added by; ``None`` for one that joined by an external commit."""

    @property
    def identity(self) -> bytes | None: ...
    @property
    def signature_key(self) -> bytes: ...

@final
class RemovedMember:
    """A member the commit put out."""

    @property
    def leaf_index(self) -> int:
        """In the tree before the commit."""

    @property
    def identity(self) -> bytes | None: ...
    @property
    def signature_key(self) -> bytes: ...
    @property
    def by(self) -> Literal["member", "self", "external", "resync"]:
        """Who asked: a member, the leaver, an external sender, or the same client joining again."""

@final
class UpdatedMember:
    """A member whose leaf the commit replaced: the committer's by its path, others' by their Update proposals."""

    @property
    def leaf_index(self) -> int: ...
    @property
    def old_identity(self) -> bytes | None: ...
    @property
    def new_identity(self) -> bytes | None: ...
    @property
    def old_signature_key(self) -> bytes: ...
    @property
    def new_signature_key(self) -> bytes: ...

@final
class CommitInfo:
    """What an accepted commit did (RFC 9420 section 12.4)."""

    @property
    def kind(self) -> Literal["member", "external_join", "external_resync"]: ...
    @property
    def committer(self) -> int:
        """Leaf index; of an external commit, the joiner's."""

    @property
    def committer_identity(self) -> bytes | None: ...
    @property
    def committer_signature_key(self) -> bytes:
        """The key the committer signs with from the new epoch on."""

    @property
    def authenticated_data(self) -> bytes: ...
    @property
    def epoch_before(self) -> int: ...
    @property
    def epoch_after(self) -> int: ...
    @property
    def added(self) -> tuple[AddedMember, ...]: ...
    @property
    def removed(self) -> tuple[RemovedMember, ...]: ...
    @property
    def updated(self) -> tuple[UpdatedMember, ...]: ...
    @property
    def covered(self) -> tuple[bytes, ...]:
        """ProposalRefs of the pending proposals it commits; those it leaves out end with the epoch."""

    @property
    def extensions_changed(self) -> bool:
        """The group's extensions were set anew."""

    @property
    def used_psk(self) -> bool: ...
    @property
    def confirmation_tag(self) -> bytes: ...
    @property
    def group_context(self) -> bytes:
        """The encoded GroupContext of the new epoch."""

@final
class PublicGroup:
    """The public half of a group in one epoch. Never changes: a call that moves the group returns another object.

    Three encodings of RFC 9420 are the whole of it and the form to store: ``ratchet_tree()``, ``group_context()`` and
    ``confirmation_tag``; with the proposal messages of the epoch, ``rebuild`` makes it again.
    """

    @staticmethod
    def create(group_info: bytes, ratchet_tree: bytes | None = None, *, limits: Limits | None = None) -> PublicGroup:
        """Start to follow a group whose past is not known (RFC 9420 section 12.4.3.3).

        Everything a joiner can verify is verified: the signature, the tree hash, every leaf's signature, lifetime and
        capabilities, parent hashes, unique keys. The tree is the argument, or the one inside the GroupInfo. What
        proves nothing here is the group id: whoever holds a member's key can sign a GroupInfo for any id.

        Codes: ``group_info.*``, ``tree.*``.
        """

    @staticmethod
    def rebuild(
        *,
        ratchet_tree: bytes,
        group_context: bytes,
        confirmation_tag: bytes,
        proposals: Sequence[bytes] = (),
        verify: bool = False,
        limits: Limits | None = None,
    ) -> PublicGroup:
        """The same object again from what was stored.

        Trusts the bytes, as they were verified when they were stored; ``verify`` checks the tree hash and every leaf's
        signature again. Lifetimes play no part. ``proposals`` are the accepted proposal messages of this epoch, in
        order; an Add whose key package has ended since is left out.

        Codes: ``tree.*``, ``state.inconsistent``, those of ``process_proposal``.
        """

    @property
    def group_id(self) -> bytes: ...
    @property
    def epoch(self) -> int: ...
    @property
    def ciphersuite(self) -> int: ...
    @property
    def tree_hash(self) -> bytes: ...
    @property
    def confirmation_tag(self) -> bytes: ...
    @property
    def pending_proposals(self) -> tuple[ProposalInfo, ...]:
        """Proposals of this epoch, in the order they came."""

    @property
    def external_senders(self) -> tuple[tuple[bytes | None, bytes], ...]:
        """``(identity, signature_key)`` of each external sender (RFC 9420 section 12.1.8.1); the place is its index."""

    def ratchet_tree(self) -> bytes:
        """The encoded tree, as a ``ratchet_tree`` extension holds it (RFC 9420 section 12.4.3.3)."""

    def group_context(self) -> bytes:
        """The encoded GroupContext (RFC 9420 section 8.1)."""

    def members(self) -> tuple[MemberInfo, ...]:
        """Occupied leaves, by index."""

    def __eq__(self, other: object, /) -> bool:
        """Whether the two are the same state, pending proposals included."""

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def process_proposal(
        self, message: bytes, *, limits: Limits | None = None, policy: Policy | None = None
    ) -> tuple[ProposalInfo, PublicGroup]:
        """Verify a proposal of this epoch and add it to the pending ones (RFC 9420 section 12.1).

        A proposal that is pending already gives the same information and changes nothing. Refused besides what RFC
        9420 refuses: removing an empty leaf, a SelfRemove while some member does not list that type, a changed
        credential, a signature or encryption key that a member has, a key package ``key_package`` would refuse.

        Codes: ``validation.*``, ``proposal.*``, ``key_package.*``, ``policy.*``, ``limit.pending_proposals``.
        """

    def process_commit(
        self,
        message: bytes,
        *,
        group_info: bytes | None = None,
        welcomes: Sequence[bytes] = (),
        limits: Limits | None = None,
        policy: Policy | None = None,
    ) -> tuple[CommitInfo, PublicGroup]:
        """Verify a commit of this epoch and give the group it leads to (RFC 9420 sections 12.4.2 and 12.4.3.2).

        ``group_info`` must be the one of the new epoch: same context, the commit's confirmation tag, signed by the
        committer with the key it has from now on, with an ``external_pub``, and with no tree or exactly the new one.
        ``welcomes`` together must name each added member's key package once, and no other.

        Beyond what OpenMLS verifies: no two members share a signature or encryption key, nobody changes credential,
        who joins again has the credential of the leaf it replaces, no ReInit, no unknown proposal.

        What no server can verify is left to members: the confirmation and membership tags, what the path encrypts,
        and whether ``external_pub`` is the right key. So store and relay exactly the bytes given here.

        Codes: ``validation.*``, ``commit.*``, ``group_info.*``, ``welcome.*``, ``key_package.*``, ``policy.*``.
        """

@final
class ExternalSigner:
    """The key pair of an external sender: a server that groups allow to propose (RFC 9420 section 12.1.8.1)."""

    @staticmethod
    def generate(ciphersuite: int = 1) -> ExternalSigner: ...
    @staticmethod
    def derive(secret: bytes, ciphersuite: int = 1) -> ExternalSigner:
        """The pair that belongs to a secret of at least 32 bytes: the same every time. Codes: ``state.bad_signer``."""

    @staticmethod
    def load(state: bytes) -> ExternalSigner:
        """From ``export``. Codes: ``state.bad_signer``."""

    def export(self) -> bytes:
        """Private and public key. Keep it secret."""

    @property
    def public(self) -> bytes:
        """The public key, as it stands in a group's list of external senders."""

    def propose_remove(self, group_id: bytes, epoch: int, leaf_index: int, *, sender_index: int = 0) -> bytes:
        """A Remove proposal for this epoch, as a PublicMessage."""

def peek(message: bytes) -> MessageInfo:
    """Read the outside of an MLSMessage; no signature is checked and no suite needs to be known."""

def key_package(data: bytes, *, limits: Limits | None = None) -> KeyPackageInfo:
    """Validate a KeyPackage, raw or in an MLSMessage (RFC 9420 section 10.1).

    Valid now: both signatures, distinct keys, lifetime begun, not ended and not longer than allowed, and capabilities
    that list its own version, suite, credential type and extensions.

    Codes: ``key_package.*``; ``key_package.not_yet_valid`` is retryable.
    """

def welcome(data: bytes, *, limits: Limits | None = None) -> WelcomeInfo:
    """Read whom a Welcome, raw or in an MLSMessage, lets in. Codes: ``welcome.duplicate_reference``."""

def group_info(data: bytes, *, limits: Limits | None = None) -> GroupInfoView:
    """Read a GroupInfo in an MLSMessage without verifying it. Codes: ``group_info.malformed_external_pub``."""

def verify_group_info(data: bytes, signature_key: bytes, *, limits: Limits | None = None) -> GroupInfoView:
    """The same, with its signature verified under ``signature_key``. Codes: ``group_info.bad_signature``."""
