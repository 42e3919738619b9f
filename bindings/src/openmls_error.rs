//! What OpenMLS refuses, in our codes. Matches are exhaustive where OpenMLS' enums are few enough to name.
use openmls::group::{
    ExternalCommitValidationError as External, GroupContextExtensionsProposalValidationError as Extensions,
    ProposalValidationError as Invalid, StageCommitError as Stage, ValidationError as Validation,
};
use openmls::prelude::{
    tls_codec, CreationFromExternalError as Creation, KeyPackageVerifyError as Package,
    PublicProcessMessageError as Process,
};
use openmls::treesync::errors::LifetimeError;

use crate::error::{refusal, Code, Refusal};

pub fn decoding(what: &'static str) -> impl Fn(tls_codec::Error) -> Refusal {
    move |error| {
        let code = match error {
            tls_codec::Error::EndOfStream => Code::Truncated,
            tls_codec::Error::TrailingData => Code::TrailingData,
            tls_codec::Error::InvalidVectorLength => Code::BadLength,
            _ => Code::Malformed,
        };
        refusal(code, format!("not a well-formed {what}"))
    }
}

pub fn encoding(_: tls_codec::Error) -> Refusal {
    refusal(Code::Library, "could not encode")
}

/// For what can only fail by a fault of the library.
pub fn library<E>(_: E) -> Refusal {
    refusal(Code::Library, "OpenMLS failed where it should not")
}

pub fn key_package(error: Package) -> Refusal {
    refusal(key_package_code(&error), error.to_string())
}

fn key_package_code(error: &Package) -> Code {
    match error {
        Package::LibraryError(_) => Code::Library,
        Package::LifetimeError(LifetimeError::NotValidYet { .. }) => Code::KeyPackageNotYetValid,
        Package::LifetimeError(LifetimeError::Expired { .. }) => Code::KeyPackageExpired,
        Package::LifetimeError(_) | Package::MissingLifetime => Code::KeyPackageLifetime,
        Package::UnsupportedExtension => Code::KeyPackageUnsupportedExtension,
        Package::InvalidSignature => Code::KeyPackageBadSignature,
        Package::InvalidLeafNodeSignature => Code::KeyPackageBadLeafSignature,
        Package::InvalidLeafNodeSourceType => Code::KeyPackageBadLeafSource,
        Package::InitKeyEqualsEncryptionKey => Code::KeyPackageKeyReuse,
        Package::InvalidProtocolVersion => Code::KeyPackageVersion,
        Package::ExtensionTypeNotValidInKeyPackage(_) => Code::KeyPackageExtensionNotAllowed,
    }
}

pub fn creation<S>(error: Creation<S>) -> Refusal {
    let code = match error {
        Creation::LibraryError(_) => Code::Library,
        Creation::TreeSyncError(_) => Code::TreeInvalid,
        Creation::UnknownSender => Code::GroupInfoUnknownSigner,
        Creation::InvalidGroupInfoSignature => Code::GroupInfoBadSignature,
        Creation::TreeHashMismatch => Code::GroupInfoTreeHash,
        Creation::UnsupportedMlsVersion => Code::UnsupportedVersion,
        Creation::UnsupportedCiphersuite(_) => Code::UnsupportedCiphersuite,
        Creation::LeafNodeValidation(_) => Code::TreeInvalidLeaf,
        Creation::WriteToStorageError(_) => Code::Storage,
        Creation::UnmergedLeafNotADescendant => Code::TreeUnmergedLeaf,
        Creation::IntermediateNodeMissingUnmergedLeaf => Code::TreeUnmergedLeaf,
        Creation::DuplicateEncryptionKey => Code::TreeDuplicateEncryptionKey,
        Creation::DuplicateSignatureKey => Code::TreeDuplicateSignatureKey,
    };
    refusal(code, "the tree and the GroupInfo do not make a valid group")
}

pub fn processing(error: Process) -> Refusal {
    let code = match &error {
        Process::LibraryError(_) => Code::Library,
        Process::ValidationError(inner) => validation(inner),
        Process::InvalidCommit(inner) => staging(inner),
        Process::IncompatibleWireFormat => Code::PrivateMessage,
        Process::UnauthorizedExternalApplicationMessage => Code::BadSender,
        Process::UnauthorizedExternalCommitMessage => Code::BadSender,
        Process::UnsupportedProposalType => Code::ProposalUnsupported,
    };
    refusal(code, detail(code, &error))
}

/// A PSK error quotes the PSK's id.
pub fn detail(code: Code, error: &impl std::fmt::Display) -> String {
    match code {
        Code::CommitPsk => "the PreSharedKey proposals are invalid".into(),
        _ => error.to_string(),
    }
}

pub fn validation(error: &Validation) -> Code {
    match error {
        Validation::LibraryError(_) => Code::Library,
        Validation::WrongGroupId => Code::WrongGroupId,
        Validation::WrongEpoch => Code::WrongEpoch,
        Validation::UnknownMember => Code::UnknownMember,
        Validation::InvalidSignature => Code::BadSignature,
        Validation::MissingMembershipTag => Code::MissingMembershipTag,
        Validation::InvalidMembershipTag => Code::BadMembershipTag,
        Validation::MissingConfirmationTag => Code::MissingConfirmationTag,
        Validation::UnauthorizedExternalSender => Code::UnauthorizedExternalSender,
        Validation::NoExternalSendersExtension => Code::NoExternalSenders,
        Validation::WrongWireFormat | Validation::UnencryptedApplicationMessage => Code::WrongType,
        Validation::NotACommit
        | Validation::NotAnExternalAddProposal
        | Validation::NonMemberApplicationMessage
        | Validation::InvalidSenderType => Code::BadSender,
        Validation::NoPath => Code::CommitMissingPath,
        Validation::KeyPackageVerifyError(inner) => key_package_code(inner),
        Validation::UpdatePathError(_) => Code::CommitPath,
        Validation::InvalidLeafNodeSignature
        | Validation::InvalidLeafNodeSourceType
        | Validation::InvalidExtension(_) => Code::BadLeaf,
        Validation::CommitterIncludedOwnUpdate => Code::CommitOwnUpdate,
        Validation::InvalidAddProposalCiphersuite => Code::CommitCiphersuite,
        Validation::ExternalCommitValidation(inner) => external(inner),
        Validation::UnableToDecrypt(_) => Code::Decrypt,
        Validation::NoPastEpochData => Code::TooOld,
    }
}

pub fn staging(error: &Stage) -> Code {
    match error {
        Stage::LibraryError(_) => Code::Library,
        Stage::EpochMismatch => Code::WrongEpoch,
        Stage::MissingProposal => Code::CommitMissingProposal,
        Stage::AttemptedSelfRemoval => Code::CommitSelfRemoval,
        Stage::RequiredPathNotFound => Code::CommitMissingPath,
        Stage::ConfirmationTagMissing => Code::MissingConfirmationTag,
        Stage::ConfirmationTagMismatch => Code::CommitBadConfirmationTag,
        Stage::PathLeafNodeVerificationFailure => Code::CommitBadLeafSignature,
        Stage::ProposalValidationError(inner) => proposals(inner),
        Stage::ExternalCommitValidation(inner) => external(inner),
        Stage::GroupContextExtensionsProposalValidationError(Extensions::LibraryError(_)) => Code::Library,
        Stage::GroupContextExtensionsProposalValidationError(_) => Code::CommitExtensions,
        Stage::LeafNodeValidation(_) => Code::CommitLeaf,
        Stage::UpdatePathError(_) | Stage::VerifiedUpdatePathError(_) => Code::CommitPath,
        Stage::TooManyNewMembers => Code::CommitTreeFull,
        Stage::DuplicatePskId(_) | Stage::PskError(_) => Code::CommitPsk,
        Stage::SenderTypeExternal | Stage::SenderTypeNewMemberProposal | Stage::InconsistentSenderIndex => {
            Code::BadSender
        }
        Stage::OwnCommitMismatch => Code::BadSender,
        Stage::WrongPlaintextContentType => Code::WrongType,
        Stage::OwnKeyNotFound | Stage::MissingDecryptionKey => Code::CommitUndecryptable,
    }
}

pub fn proposals(error: &Invalid) -> Code {
    match error {
        Invalid::LibraryError(_) => Code::Library,
        Invalid::DuplicateSignatureKey => Code::CommitDuplicateSignatureKey,
        Invalid::DuplicateEncryptionKey => Code::CommitDuplicateEncryptionKey,
        Invalid::DuplicateInitKey => Code::CommitDuplicateInitKey,
        Invalid::InitEncryptionKeyCollision => Code::KeyPackageKeyReuse,
        Invalid::UnknownMember | Invalid::UnknownMemberRemoval | Invalid::UpdateFromNonMember => {
            Code::CommitUnknownMember
        }
        Invalid::DuplicateMemberRemoval => Code::CommitDuplicateRemoval,
        Invalid::CommitterIncludedOwnUpdate => Code::CommitOwnUpdate,
        Invalid::UnsupportedProposalType => Code::CommitUnsupportedProposal,
        Invalid::InsufficientCapabilities => Code::CommitCapabilities,
        Invalid::InvalidAddProposalCiphersuiteOrVersion => Code::CommitCiphersuite,
        Invalid::Psk(_) => Code::CommitPsk,
        Invalid::LeafNodeValidation(_) => Code::CommitLeaf,
        Invalid::ExternalInitProposalInRegularCommit => Code::CommitProposal,
    }
}

fn external(error: &External) -> Code {
    match error {
        External::LibraryError(_) => Code::Library,
        External::NoPath => Code::CommitMissingPath,
        _ => Code::CommitExternal,
    }
}
