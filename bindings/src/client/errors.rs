//! What OpenMLS' group of a member refuses, in our codes.
use openmls::framing::errors::{MessageDecryptionError, SecretTreeError};
use openmls::group::{
    CreateCommitError, CreateMessageError, ExternalCommitBuilderError, MlsGroupStateError, ProcessMessageError,
    ValidationError, WelcomeError,
};

use crate::error::{refusal, Code, Refusal};
use crate::openmls_error::{self, detail, staging, validation};

/// For steps that fail in too many ways to tell apart.
pub fn failing<E: std::fmt::Display>(code: Code) -> impl Fn(E) -> Refusal {
    move |error| refusal(code, error.to_string())
}

pub fn group_state(error: &MlsGroupStateError) -> Code {
    match error {
        MlsGroupStateError::LibraryError(_) => Code::Library,
        MlsGroupStateError::UseAfterEviction => Code::GroupInactive,
        MlsGroupStateError::PendingProposal => Code::UncommittedProposals,
        MlsGroupStateError::PendingCommit => Code::PendingCommit,
        MlsGroupStateError::NoPendingCommit => Code::NoCommit,
        MlsGroupStateError::PendingProposalNotFound => Code::ProposalUnknownMember,
    }
}

pub fn encrypting(error: CreateMessageError) -> Refusal {
    let code = match &error {
        CreateMessageError::LibraryError(_) => Code::Library,
        CreateMessageError::GroupStateError(inner) => group_state(inner),
    };
    refusal(code, error.to_string())
}

pub fn committing(error: CreateCommitError) -> Refusal {
    let code = match &error {
        CreateCommitError::LibraryError(_) => Code::Library,
        CreateCommitError::ProposalValidationError(inner) => openmls_error::proposals(inner),
        CreateCommitError::PskError(_) => Code::CommitPsk,
        CreateCommitError::InvalidSignerCiphersuite => Code::WrongSigner,
        _ => Code::Commit,
    };
    refusal(code, detail(code, &error))
}

pub fn joining<S: std::fmt::Display>(error: WelcomeError<S>) -> Refusal {
    let code = match &error {
        WelcomeError::LibraryError(_) => Code::Library,
        WelcomeError::StorageError(_) => Code::Storage,
        WelcomeError::NoMatchingKeyPackage | WelcomeError::PrivateInitKeyNotFound => Code::NoKeyPackage,
        WelcomeError::NoMatchingEncryptionKey | WelcomeError::JoinerSecretNotFound => Code::NoKeyPackage,
        WelcomeError::MissingRatchetTree => Code::MissingTree,
        WelcomeError::GroupAlreadyExists => Code::GroupExists,
        _ => Code::Join,
    };
    refusal(code, error.to_string())
}

pub fn joining_external<S: std::fmt::Display>(error: ExternalCommitBuilderError<S>) -> Refusal {
    match error {
        ExternalCommitBuilderError::PublicGroupError(inner) => openmls_error::creation(inner),
        ExternalCommitBuilderError::MissingRatchetTree => refusal(Code::MissingTree, error.to_string()),
        ExternalCommitBuilderError::MissingExternalPub => refusal(Code::GroupInfoMissingExternalPub, error.to_string()),
        ExternalCommitBuilderError::InvalidProposal(ref inner) => refusal(validation(inner), error.to_string()),
        _ => refusal(Code::Join, error.to_string()),
    }
}

pub fn processing<S: std::fmt::Display>(error: ProcessMessageError<S>) -> Refusal {
    let code = match &error {
        ProcessMessageError::LibraryError(_) => Code::Library,
        ProcessMessageError::StorageError(_) => Code::Storage,
        ProcessMessageError::IncompatibleWireFormat => Code::WrongType,
        ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(inner)) => decryption(inner),
        ProcessMessageError::ValidationError(inner) => validation(inner),
        ProcessMessageError::GroupStateError(inner) => group_state(inner),
        ProcessMessageError::InvalidCommit(inner) => staging(inner),
        ProcessMessageError::UnauthorizedExternalApplicationMessage => Code::BadSender,
        ProcessMessageError::UnauthorizedExternalCommitMessage => Code::BadSender,
        ProcessMessageError::UnsupportedProposalType => Code::ProposalUnsupported,
    };
    refusal(code, detail(code, &error))
}

fn decryption(error: &MessageDecryptionError) -> Code {
    match error {
        MessageDecryptionError::SecretTreeError(SecretTreeError::SecretReuseError) => Code::Replayed,
        MessageDecryptionError::SecretTreeError(SecretTreeError::TooDistantInThePast) => Code::TooOld,
        _ => Code::Decrypt,
    }
}
