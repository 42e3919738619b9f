//! One error, one table of codes, one conversion to Python. OpenMLS' errors become codes in `openmls_error.rs`.
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    openmls,
    MlsError,
    PyException,
    "The one exception of this package: something was refused, and ``code`` says why."
);

pub type Outcome<T> = Result<T, Refusal>;

#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: Code,
    detail: String,
}

pub fn refusal(code: Code, detail: impl Into<String>) -> Refusal {
    let detail = detail.into();
    Refusal { code, detail }
}

pub fn refuse<T>(code: Code, detail: impl Into<String>) -> Outcome<T> {
    Err(refusal(code, detail))
}

impl Refusal {
    pub fn raise(self, py: Python<'_>) -> PyErr {
        let code = self.code.as_str();
        let error = MlsError::new_err(format!("{code}: {}", self.detail));
        let value = error.value(py);
        let set = value
            .setattr("code", code)
            .and_then(|()| value.setattr("detail", self.detail))
            .and_then(|()| value.setattr("retryable", self.code.retryable()));
        set.err().unwrap_or(error)
    }
}

macro_rules! codes {
    ($($name:ident = $text:literal,)*) => {
        // Some are raised by the client half alone.
        #[cfg_attr(not(feature = "client"), allow(dead_code))]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($name),* }

        impl Code {
            pub const ALL: &'static [&'static str] = &[$($text),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }
        }
    };
}

impl Code {
    fn retryable(self) -> bool {
        matches!(
            self,
            Code::WrongEpoch | Code::KeyPackageNotYetValid | Code::CommitMissingProposal
        )
    }
}

codes! {
    Truncated = "decode.truncated",
    TrailingData = "decode.trailing_data",
    BadLength = "decode.bad_length",
    Malformed = "decode.malformed",
    WrongType = "decode.wrong_type",

    UnsupportedVersion = "unsupported.version",
    UnsupportedCiphersuite = "unsupported.ciphersuite",

    MessageSize = "limit.message_size",
    TreeSize = "limit.tree_size",
    TreeNodes = "limit.tree_nodes",
    Members = "limit.members",
    PendingProposals = "limit.pending_proposals",

    KeyPackageNotYetValid = "key_package.not_yet_valid",
    KeyPackageExpired = "key_package.expired",
    KeyPackageLifetime = "key_package.lifetime",
    KeyPackageLifetimeTooLong = "key_package.lifetime_too_long",
    KeyPackageUnsupportedExtension = "key_package.unsupported_extension",
    KeyPackageBadSignature = "key_package.bad_signature",
    KeyPackageBadLeafSignature = "key_package.bad_leaf_signature",
    KeyPackageBadLeafSource = "key_package.bad_leaf_source",
    KeyPackageKeyReuse = "key_package.key_reuse",
    KeyPackageVersion = "key_package.version",
    KeyPackageExtensionNotAllowed = "key_package.extension_not_allowed",
    KeyPackageCapabilities = "key_package.capabilities",

    WelcomeDuplicateReference = "welcome.duplicate_reference",
    WelcomeMissing = "welcome.missing",
    WelcomeUnexpected = "welcome.unexpected",
    WelcomeCiphersuite = "welcome.ciphersuite",

    GroupInfoBadSignature = "group_info.bad_signature",
    GroupInfoUnknownSigner = "group_info.unknown_signer",
    GroupInfoTreeHash = "group_info.tree_hash_mismatch",
    GroupInfoMissingTree = "group_info.missing_tree",
    GroupInfoMissingExternalPub = "group_info.missing_external_pub",
    GroupInfoMalformedExternalPub = "group_info.malformed_external_pub",
    GroupInfoContext = "group_info.context_mismatch",
    GroupInfoConfirmationTag = "group_info.confirmation_tag_mismatch",
    GroupInfoSigner = "group_info.signer_mismatch",
    GroupInfoTree = "group_info.tree_mismatch",

    TreeInvalid = "tree.invalid",
    TreeInvalidLeaf = "tree.invalid_leaf",
    TreeUnmergedLeaf = "tree.unmerged_leaf",
    TreeDuplicateEncryptionKey = "tree.duplicate_encryption_key",
    TreeDuplicateSignatureKey = "tree.duplicate_signature_key",

    WrongGroupId = "validation.wrong_group_id",
    WrongEpoch = "validation.wrong_epoch",
    UnknownMember = "validation.unknown_member",
    BadSignature = "validation.bad_signature",
    MissingMembershipTag = "validation.missing_membership_tag",
    BadMembershipTag = "validation.bad_membership_tag",
    MissingConfirmationTag = "validation.missing_confirmation_tag",
    UnauthorizedExternalSender = "validation.unauthorized_external_sender",
    NoExternalSenders = "validation.no_external_senders",
    PrivateMessage = "validation.private_message",
    BadSender = "validation.bad_sender",
    BadLeaf = "validation.bad_leaf",

    CommitMissingProposal = "commit.missing_proposal",
    CommitMissingPath = "commit.missing_path",
    CommitMissingGroupInfo = "commit.missing_group_info",
    CommitSelfRemoval = "commit.self_removal",
    CommitBadLeafSignature = "commit.bad_leaf_signature",
    CommitBadConfirmationTag = "commit.bad_confirmation_tag",
    CommitUnknownMember = "commit.unknown_member",
    CommitDuplicateRemoval = "commit.duplicate_removal",
    CommitDuplicateSignatureKey = "commit.duplicate_signature_key",
    CommitDuplicateEncryptionKey = "commit.duplicate_encryption_key",
    CommitDuplicateInitKey = "commit.duplicate_init_key",
    CommitOwnUpdate = "commit.own_update",
    CommitUnsupportedProposal = "commit.unsupported_proposal_type",
    CommitCapabilities = "commit.insufficient_capabilities",
    CommitCiphersuite = "commit.ciphersuite",
    CommitProposal = "commit.invalid_proposal",
    CommitExternal = "commit.invalid_external",
    CommitExtensions = "commit.invalid_extensions",
    CommitLeaf = "commit.invalid_leaf",
    CommitPath = "commit.invalid_path",
    CommitTreeFull = "commit.tree_full",
    CommitPsk = "commit.invalid_psk",
    CommitUndecryptable = "commit.undecryptable",

    ProposalUnknownMember = "proposal.unknown_member",
    ProposalUnsupported = "proposal.unsupported_type",
    ProposalSelfRemoveUnsupported = "proposal.self_remove_unsupported",
    ProposalDuplicateSignatureKey = "proposal.duplicate_signature_key",
    ProposalDuplicateEncryptionKey = "proposal.duplicate_encryption_key",

    PolicyCustomProposal = "policy.custom_proposal",
    PolicyReinit = "policy.reinit",
    PolicyPsk = "policy.psk",
    PolicyExternalJoin = "policy.external_join",
    PolicyCredentialChanged = "policy.credential_changed",
    PolicyResyncIdentity = "policy.resync_identity",

    StateInconsistent = "state.inconsistent",
    StateBadSigner = "state.bad_signer",
    StateBadClient = "state.bad_client",

    NoGroup = "client.no_group",
    GroupExists = "client.group_exists",
    GroupInactive = "client.group_inactive",
    WrongGroup = "client.wrong_group",
    WrongSigner = "client.wrong_signer",
    NoKeyPackage = "client.no_key_package",
    MissingTree = "client.missing_tree",
    Join = "client.join",
    Commit = "client.commit",
    PendingCommit = "client.pending_commit",
    NoCommit = "client.no_commit",
    Propose = "client.propose",
    UncommittedProposals = "client.pending_proposals",
    Decrypt = "client.decrypt",
    Replayed = "client.replayed",
    TooOld = "client.too_old",
    Export = "client.export",
    Broken = "client.broken",

    Library = "internal.library",
    Storage = "internal.storage",
    Panic = "internal.panic",
}
