"""What the server may read of MLS messages, and the public half of a group; translates the binding's errors once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from openmls import MlsError
from openmls.delivery import (
    CommitInfo,
    ExternalSigner,
    Limits,
    Policy,
    ProposalInfo,
    PublicGroup,
    group_info,
    peek,
    welcome,
)

from catbird_mls.xrpc.errors import XrpcError
from conversations.errors import EpochMismatch, InvalidCommit, InvalidGroupInfo, InvalidMessage, TooManyMembers
from keypackages.errors import InvalidWelcome

__all__ = [
    "KNOWN_SUITES",
    "TRACKED_SUITES",
    "CommitInfo",
    "ProposalInfo",
    "PublicGroup",
    "StoredGroup",
    "brings_tree",
    "commit_epoch",
    "external_sender",
    "external_sender_keys",
    "fault_for_joiners",
    "found_group",
    "proposal_of",
    "propose_removals",
    "require_framed_proposal",
    "require_no_smuggling",
    "signer_of",
    "verify_commit",
    "verify_external_commit",
    "verify_proposal",
]

COMMIT_MAX_BYTES = 4 * 1024 * 1024
GROUP_INFO_MAX_BYTES = 4 * 1024 * 1024
ED25519_KEY_BYTES = 32
BASIC_CREDENTIAL = 1

# RFC 9420 section 17.1; a tracked convo needs a suite that OpenMLS verifies.
TRACKED_SUITES = {
    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519": 1,
    "MLS_128_DHKEMP256_AES128GCM_SHA256_P256": 2,
    "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519": 3,
}
KNOWN_SUITES = frozenset(TRACKED_SUITES) | {
    "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
    "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
    "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
}


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """The stored form of a public group: RFC 9420 encodings, and the proposals of its epoch."""

    ratchet_tree: bytes
    group_context: bytes
    confirmation_tag: bytes
    proposals: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, group: PublicGroup) -> "StoredGroup":
        return cls(
            ratchet_tree=group.ratchet_tree(),
            group_context=group.group_context(),
            confirmation_tag=group.confirmation_tag,
        )

    def rebuild(self) -> PublicGroup:
        return PublicGroup.rebuild(
            ratchet_tree=self.ratchet_tree,
            group_context=self.group_context,
            confirmation_tag=self.confirmation_tag,
            proposals=list(self.proposals),
            limits=_limits(),
        )


@dataclass(frozen=True, slots=True)
class ExternalSender:
    """The server as groups list it (RFC 9420, section 12.1.8.1)."""

    credential: bytes
    signature_key: bytes


def found_group(*, group_info_bytes: bytes, ratchet_tree: bytes | None) -> PublicGroup:
    """The public group a verified GroupInfo describes (RFC 9420, section 12.4.3)."""
    if len(group_info_bytes) > GROUP_INFO_MAX_BYTES:
        raise InvalidGroupInfo(f"limit.message_size: a GroupInfo is at most {GROUP_INFO_MAX_BYTES} bytes.")
    with _refusing(InvalidGroupInfo):
        return PublicGroup.create(group_info_bytes, ratchet_tree, limits=_limits())


def brings_tree(group_info_bytes: bytes) -> bool:
    """Whether a GroupInfo can be joined by without anything beside it."""
    with _refusing(InvalidGroupInfo):
        return group_info(group_info_bytes, limits=_limits()).has_ratchet_tree


def signer_of(group_info_bytes: bytes) -> int:
    """The leaf that signed a GroupInfo, as it says itself."""
    with _refusing(InvalidGroupInfo):
        return group_info(group_info_bytes, limits=_limits()).signer


def verify_commit(
    stored: StoredGroup, commit: bytes, *, group_info_bytes: bytes | None, welcomes: Sequence[bytes]
) -> tuple[CommitInfo, PublicGroup]:
    """What a member's commit does and the group it leads to; nothing is believed that OpenMLS did not verify."""
    _require_readable(group_info_bytes, welcomes)
    with _refusing(InvalidCommit):
        before = stored.rebuild()
        info, after = before.process_commit(
            commit,
            group_info=group_info_bytes,
            welcomes=list(welcomes),
            limits=_limits(),
            policy=Policy(allow_external_join=False, require_group_info=True),
        )
    if _server_place(before) is not None and _server_place(after) is None:
        raise InvalidCommit("commit.external_sender_dropped: the group has to go on listing this server.")
    return info, after


def verify_external_commit(
    stored: StoredGroup, commit: bytes, *, group_info_bytes: bytes | None
) -> tuple[CommitInfo, PublicGroup]:
    """What somebody outside the group commits to be let in (RFC 9420, section 12.4.3.2)."""
    _require_readable(group_info_bytes, [])
    with _refusing(InvalidCommit):
        info, group = stored.rebuild().process_commit(
            commit, group_info=group_info_bytes, limits=_limits(), policy=Policy(require_group_info=True)
        )
    if info.kind == "member" or len(info.added) != 1:
        raise InvalidCommit("commit.not_external: the commit lets nobody in from outside, or others too.")
    return info, group


def verify_proposal(stored: StoredGroup, proposal: bytes, *, epoch: int) -> ProposalInfo:
    """What a member proposes, verified against the public group."""
    _require_epoch(proposal, epoch=epoch)
    with _refusing(InvalidCommit):
        info, _ = stored.rebuild().process_proposal(
            proposal, limits=_limits(), policy=Policy(allow_external_join=False)
        )
    return info


def propose_removals(group: PublicGroup, leaves: Sequence[int]) -> list[tuple[bytes, ProposalInfo]] | None:
    """The server's own Remove proposals for this epoch, verified as members will verify them.

    None where the group does not list the server as an external sender (RFC 9420, section 12.1.8.1).
    """
    place = _server_place(group)
    if place is None:
        return None
    index, signer = place
    made = []
    for leaf in leaves:
        body = signer.propose_remove(group.group_id, group.epoch, leaf, sender_index=index)
        info, group = group.process_proposal(body, limits=_limits())
        made.append((body, info))
    return made


def external_sender(signature_key: bytes) -> ExternalSender | None:
    """What groups of a device with this key are to list; None where the deployment has no secret.

    Ed25519 keys have 32 bytes, those of P-256 are longer, and a group's members and senders sign alike.
    """
    keys = external_sender_keys()
    if keys is None:
        return None
    key = keys[0] if len(signature_key) == ED25519_KEY_BYTES else keys[1]
    return ExternalSender(_basic_credential(settings.SERVICE_DID.encode()), key)


def external_sender_keys() -> tuple[bytes, bytes] | None:
    """The public keys, of Ed25519 and P-256, that new groups are to list."""
    if not settings.EXTERNAL_SENDER_SECRETS:
        return None
    ed25519, p256 = (next(iter(_signers(settings.EXTERNAL_SENDER_SECRETS, suite))) for suite in (1, 2))
    return ed25519, p256


def fault_for_joiners(group_info_bytes: bytes, ratchet_tree: bytes) -> str:
    """The code of what keeps a device from joining by this GroupInfo and tree; empty when nothing does."""
    try:
        PublicGroup.create(group_info_bytes, ratchet_tree, limits=_limits())
        reachable = group_info(group_info_bytes, limits=_limits()).external_pub is not None
    except MlsError as error:
        return error.code
    return "" if reachable else "group_info.missing_external_pub"


def commit_epoch(commit: bytes, *, group_id: bytes) -> int:
    """The epoch a commit was made for; all that can be known of one in an opaque convo is its frame."""
    if len(commit) > COMMIT_MAX_BYTES:
        raise InvalidCommit(f"limit.message_size: a commit is at most {COMMIT_MAX_BYTES} bytes.")
    with _refusing(InvalidCommit):
        found = peek(commit)
    if found.wire_format not in {"public_message", "private_message"} or found.content_type != "commit":
        raise InvalidCommit("decode.wrong_type: not a commit.")
    if found.group_id != group_id or found.epoch is None:
        raise InvalidCommit("validation.wrong_group_id: the commit is of another group.")
    return found.epoch


def require_framed_proposal(proposal: bytes, *, epoch: int, group_id: bytes) -> None:
    """All that can be known of a proposal in an opaque convo: framing, group, epoch and content type."""
    with _refusing(InvalidCommit):
        found = peek(proposal)
    if found.content_type != "proposal":
        raise InvalidCommit("decode.wrong_type: not a proposal.")
    if found.group_id != group_id:
        raise InvalidCommit("validation.wrong_group_id: the proposal is of another group.")
    _require_same_epoch(found.epoch, epoch)


def proposal_of(ciphertext: bytes) -> bytes | None:
    """The group whose proposal these bytes are, as far as they can be read; None when they are anything else."""
    try:
        found = peek(ciphertext)
    except MlsError:
        return None
    is_proposal = (found.wire_format, found.content_type) == ("public_message", "proposal")
    return found.group_id if is_proposal else None


def require_no_smuggling(ciphertext: bytes, *, group_id: bytes, epoch: int) -> None:
    """What parses as a message of this group must be an application message of the epoch the request states.

    Anything else stays unread: engines may put bytes of their own around the message.
    """
    try:
        found = peek(ciphertext)
    except MlsError:
        return
    if found.group_id == group_id and (found.content_type != "application" or found.epoch != epoch):
        raise InvalidMessage(
            f"The ciphertext is a message of type {found.content_type} and epoch {found.epoch}, "
            f"not an application message of epoch {epoch}."
        )


def _require_readable(group_info_bytes: bytes | None, welcomes: Sequence[bytes]) -> None:
    """What comes beside a commit is refused under its own name, not the commit's."""
    if group_info_bytes is not None:
        with _refusing(InvalidGroupInfo):
            group_info(group_info_bytes, limits=_limits())
    for body in welcomes:
        with _refusing(InvalidWelcome):
            welcome(body, limits=_limits())


def _require_epoch(message: bytes, *, epoch: int) -> None:
    with _refusing(InvalidCommit):
        found = peek(message)
    _require_same_epoch(found.epoch, epoch)


def _require_same_epoch(made_for: int | None, epoch: int) -> None:
    if made_for != epoch:
        raise EpochMismatch(f"The message was made for epoch {made_for}.", current_epoch=epoch)


def _basic_credential(identity: bytes) -> bytes:
    """RFC 9420, sections 5.3 and 2.1.2: the type, and a vector whose length has two bits for its own size."""
    size = len(identity)
    length = size.to_bytes(1, "big") if size < 64 else (0x4000 | size).to_bytes(2, "big")
    return BASIC_CREDENTIAL.to_bytes(2, "big") + length + identity


@cache
def _signers(secrets: Sequence[str], ciphersuite: int) -> dict[bytes, ExternalSigner]:
    """The server's key pairs for a suite by their public keys, the one for new groups first."""
    made = [ExternalSigner.derive(secret.encode(), ciphersuite) for secret in secrets]
    return {signer.public: signer for signer in made}


def _server_place(group: PublicGroup) -> tuple[int, ExternalSigner] | None:
    """Where the group lists this server, by whichever of its keys; the older ones sign for older groups."""
    signers = _signers(settings.EXTERNAL_SENDER_SECRETS, group.ciphersuite)
    for index, (_, key) in enumerate(group.external_senders):
        if key in signers:
            return index, signers[key]
    return None


def _limits() -> Limits:
    return Limits(max_members=settings.CATBIRD_MAX_MEMBERS)


@contextmanager
def _refusing(refusal: type[XrpcError]) -> Iterator[None]:
    """The binding's refusal under the lexicon's name; its stable code comes first in the message."""
    try:
        yield
    except MlsError as error:
        raise _named(error, refusal) from None


def _named(error: MlsError, refusal: type[XrpcError]) -> XrpcError:
    kind, _, _ = error.code.partition(".")
    if error.code == "limit.members":
        return TooManyMembers(f"{error.code}: {error.detail}")
    named = {"group_info": InvalidGroupInfo, "welcome": InvalidWelcome, "tree": InvalidGroupInfo}
    return named.get(kind, refusal)(f"{error.code}: {error.detail}")
