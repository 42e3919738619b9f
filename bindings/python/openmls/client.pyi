"""A member's half of MLS: signature keys, key packages, groups, commits and messages.

A ``Client`` is one device. It keeps everything in memory; ``Client.state()`` is the whole of it as bytes, to be stored
after every change and before anything made by it is sent. Objects may be used from any thread; calls on one client,
and on the groups of one client, run one after the other.

Everything raises ``openmls.MlsError``. Codes that any call may raise: ``decode.*``, ``unsupported.*``, ``limit.*``,
``client.no_group``, ``client.group_inactive``. A call that raises has changed nothing; only after ``internal.panic``
the client answers ``client.broken`` to everything, and has to be loaded again.
"""

from collections.abc import Sequence
from typing import Literal, final

from openmls.delivery import ProposalInfo

__all__ = ["Client", "CommitBundle", "Group", "Member", "Processed", "Signer"]

@final
class Signer:
    """A signature key pair."""

    @staticmethod
    def generate(ciphersuite: int = 1) -> Signer: ...
    @staticmethod
    def load(state: bytes) -> Signer:
        """From ``export``. Codes: ``state.bad_signer``."""

    def export(self) -> bytes:
        """Private and public key. Keep it secret."""

    @property
    def public(self) -> bytes: ...
    def sign(self, data: bytes) -> bytes:
        """A plain signature over ``data``, without the label MLS puts before what it signs."""

@final
class Client:
    """One device: a basic credential, a signature key, unused key packages, and its groups.

    Its leaves list SelfRemove (proposal type 10) and last resort (extension type 10). Trees of at most 16384 members
    are accepted.
    """

    def __new__(cls, identity: bytes, *, ciphersuite: int = 1, signer: Signer | None = None) -> Client:
        """A device without groups; ``signer`` is made when it is not given.

        Codes: ``client.wrong_signer`` (a key of another signature scheme).
        """

    @staticmethod
    def load(state: bytes) -> Client:
        """From ``state``. Codes: ``state.bad_client``."""

    def state(self) -> bytes:
        """Everything: keys of unused packages, groups, commits not yet confirmed. Keep it secret."""

    @property
    def identity(self) -> bytes: ...
    @property
    def ciphersuite(self) -> int: ...
    @property
    def signer(self) -> Signer:
        """The key of key packages and of groups joined from now on."""

    def key_packages(
        self, count: int, *, last_resort: bool = False, lifetime: int | tuple[int, int] | None = None
    ) -> list[bytes]:
        """New key packages, each in an MLSMessage; their private keys stay in the client.

        ``lifetime`` is a number of seconds from now or ``(not_before, not_after)``; 84 days when not given.
        """

    def create_group(
        self,
        group_id: bytes,
        *,
        external_senders: Sequence[tuple[bytes, bytes]] = (),
        private_handshake: bool = False,
    ) -> Group:
        """A group at epoch 0 with this client alone.

        ``external_senders`` are ``(identity, signature_key)``. With ``private_handshake`` this client's proposals and
        commits are PrivateMessages; otherwise they are PublicMessages. Both are understood either way.

        Codes: ``client.group_exists``.
        """

    def join(
        self, welcome: bytes, ratchet_tree: bytes | None = None, *, private_handshake: bool = False
    ) -> Group:
        """Enter by a Welcome (RFC 9420 section 12.4.3.1). The tree is the argument, or the one the Welcome carries.

        A refused Welcome costs nothing: the key package it named can still be used. A tree inside the Welcome is
        encrypted, so only its size is bounded.

        Codes: ``client.no_key_package``, ``client.missing_tree``, ``client.join``, ``client.group_exists``.
        """

    def join_external(
        self,
        group_info: bytes,
        ratchet_tree: bytes | None = None,
        *,
        authenticated_data: bytes = b"",
        self_removes: Sequence[bytes] = (),
        private_handshake: bool = False,
    ) -> tuple[Group, CommitBundle]:
        """Enter by an external commit (RFC 9420 section 12.4.3.2); the commit has still to be sent.

        The group is in its new epoch at once: when the commit loses, ``forget_group`` and do it again. A leaf with
        this client's signature key is replaced, and a group of the same id that the client had is given up.
        ``self_removes`` are pending SelfRemove messages for the commit to cover.

        Codes: ``client.missing_tree``, ``client.join``, ``group_info.missing_external_pub``.
        """

    def group(self, group_id: bytes) -> Group:
        """Codes: ``client.no_group``."""

    def group_ids(self) -> tuple[bytes, ...]:
        """Sorted."""

    def forget_group(self, group_id: bytes) -> None:
        """Delete the group's state and secrets here; nobody else learns of it. Codes: ``client.no_group``."""

@final
class CommitBundle:
    """What a new commit is made of, each part an MLSMessage."""

    @property
    def commit(self) -> bytes: ...
    @property
    def welcome(self) -> bytes | None:
        """One for all members added."""

    @property
    def group_info(self) -> bytes:
        """Of the epoch the commit leads to, signed by the committer."""

@final
class Member:
    """One occupied leaf of the group's tree."""

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
    def proposals(self) -> tuple[int, ...]:
        """Capabilities: proposal types; 10 is SelfRemove."""

@final
class Processed:
    """What a message was."""

    @property
    def kind(self) -> Literal["application", "commit", "proposal", "own"]:
        """``own`` is a message of this client that came back; if it was the unconfirmed commit, it is confirmed."""

    @property
    def data(self) -> bytes | None:
        """Of an application message."""

    @property
    def sender_index(self) -> int | None:
        """Leaf index; ``None`` when no member sent it."""

    @property
    def sender_identity(self) -> bytes | None:
        """Of a basic credential; of an external commit, the joiner's."""

    @property
    def epoch(self) -> int:
        """The epoch the message was sent in; of a commit, the one it leads to."""

    @property
    def authenticated_data(self) -> bytes: ...

@final
class Group:
    """One group of a client. A handle: two handles of the same group see the same state."""

    @property
    def group_id(self) -> bytes: ...
    @property
    def epoch(self) -> int: ...
    @property
    def ciphersuite(self) -> int: ...
    @property
    def own_leaf(self) -> int: ...
    @property
    def active(self) -> bool:
        """False once a commit has put this client out."""

    @property
    def has_pending_commit(self) -> bool:
        """A commit was made that is neither confirmed nor discarded."""

    @property
    def signer(self) -> Signer:
        """The key this client signs with in this group."""

    def commit(
        self,
        *,
        add: Sequence[bytes] = (),
        remove: Sequence[int] = (),
        update: bool = False,
        with_tree: bool = False,
        authenticated_data: bytes = b"",
        new_signer: Signer | None = None,
        external_senders: Sequence[tuple[bytes, bytes]] | None = None,
    ) -> CommitBundle:
        """Commit the pending proposals, and with them these changes (RFC 9420 section 12.4.1).

        ``add`` takes key packages, raw or in MLSMessages, ``remove`` leaf indices. ``update`` renews this client's
        leaf even when nothing else asks for it, ``new_signer`` does so with another signature key, in this group.
        ``with_tree`` puts the tree into the Welcome and the GroupInfo. ``external_senders``, when given, are
        ``(identity, signature_key)`` and become the whole list of the group. The epoch does not move before
        ``confirm``.

        Codes: ``client.pending_commit`` (confirm or discard the last one first), ``client.commit``,
        ``client.wrong_signer``, ``commit.*``, ``key_package.*``.
        """

    def confirm(self) -> int:
        """The delivery service took the commit: enter its epoch, which is returned. Codes: ``client.no_commit``."""

    def discard(self) -> None:
        """The delivery service refused the commit: forget it. Does nothing when there is none."""

    def propose_add(self, key_package: bytes) -> bytes:
        """For somebody to commit, this client included (RFC 9420 section 12.1), like every proposal.

        Codes: ``client.propose``, ``client.pending_commit``, ``key_package.*``.
        """

    def propose_remove(self, leaf_index: int) -> bytes: ...
    def propose_update(self) -> bytes: ...
    def propose_self_remove(self) -> bytes:
        """A SelfRemove; every member must list proposal type 10, and no ``private_handshake``.

        Codes: ``client.propose``, ``proposal.self_remove_unsupported``.
        """

    def propose_leave(self) -> bytes:
        """A Remove of this client itself, for somebody else to commit."""

    def clear_proposals(self) -> None:
        """Forget the pending proposals."""

    def pending_proposals(self) -> tuple[ProposalInfo, ...]: ...
    def encrypt(self, data: bytes, *, authenticated_data: bytes = b"") -> bytes:
        """An application message for the members of this epoch.

        Codes: ``client.pending_proposals`` (commit them first: RFC 9420 section 12.4 wants it so).
        """

    def process(self, message: bytes) -> Processed:
        """Read a message of the group. A commit moves the group to the next epoch, a proposal becomes pending.

        Application messages of the last five epochs can still be read, each once.

        Codes: ``client.wrong_group``, ``client.replayed``, ``client.too_old``, ``client.decrypt``, ``validation.*``,
        ``commit.*``, ``proposal.*``, ``key_package.*``.
        """

    def group_info(self, with_tree: bool = False) -> bytes:
        """A GroupInfo of this epoch signed by this client, in an MLSMessage, with ``external_pub``."""

    def ratchet_tree(self) -> bytes: ...
    def members(self) -> tuple[Member, ...]: ...
    def epoch_authenticator(self) -> bytes:
        """Equal for all members of an epoch and for nobody else (RFC 9420 section 8.7)."""

    def export_secret(self, label: str, context: bytes, length: int) -> bytes:
        """A secret of this epoch for another use (RFC 9420 section 8.5). Codes: ``client.export``."""
