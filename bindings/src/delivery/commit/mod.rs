//! From a commit to the group it leads to (RFC 9420 sections 12.4.2 and 12.4.3.2).
mod changes;
mod info;

use std::collections::HashSet;

use openmls::prelude::{
    ContentType, LeafNodeIndex, ProcessedMessage, ProcessedMessageContent, Proposal, ProposalOrRefType,
    ProtocolMessage, PublicMessageIn, Sender, StagedCommit,
};

use crate::delivery::group_info;
use crate::delivery::hash_once::HashOnce;
use crate::delivery::limits::{Limits, Policy};
use crate::delivery::proposal::require_allowed;
use crate::delivery::tracked::{public_message, tag_bytes, Tracked};
use crate::delivery::welcome;
use crate::error::{refusal, refuse, Code, Outcome};
use crate::openmls_error::{encoding, library, processing};
use changes::Changes;
pub use info::{AddedMember, CommitInfo, RemovedMember, UpdatedMember};
use tls_codec::Serialize as _;

/// A commit and what must come with it.
pub struct Bundle<'a> {
    pub commit: &'a [u8],
    pub group_info: Option<&'a [u8]>,
    pub welcomes: &'a [&'a [u8]],
}

/// A commit found good, not yet merged.
pub struct Staged<'a> {
    commit: Box<StagedCommit>,
    changes: Changes,
    /// To be compared with the tree the merge gives.
    ratchet_tree: Option<&'a [u8]>,
    authenticated_data: Vec<u8>,
    confirmation_tag: Vec<u8>,
    group_context: Vec<u8>,
}

impl Tracked {
    /// Every check but the one that needs the new tree. Changes nothing.
    pub fn stage<'a>(&self, bundle: &Bundle<'a>, limits: &Limits, policy: &Policy) -> Outcome<Staged<'a>> {
        let public = public_message(bundle.commit, ContentType::Commit, limits)?;
        let confirmation_tag = require_acceptable_frame(&public, policy)?;
        let crypto = HashOnce::new(self.group.treesync().full_leaves().count());
        let processed = self
            .group
            .process_message(&crypto, ProtocolMessage::from(public))
            .map_err(processing)?;
        let authenticated_data = processed.aad().to_vec();
        let (commit, committer, external) = self.staged_commit(processed)?;
        for queued in commit.queued_proposals() {
            require_allowed(queued.proposal(), policy)?;
        }
        let changes = Changes::of(&self.group, &commit, committer, external, limits)?;
        changes.require_same_credentials(policy)?;
        changes.require_unique_keys(&self.group, limits)?;
        self.require_welcomes(&changes, bundle.welcomes, limits)?;
        let mut staged = Staged {
            group_context: commit.group_context().tls_serialize_detached().map_err(encoding)?,
            commit,
            changes,
            ratchet_tree: None,
            authenticated_data,
            confirmation_tag,
        };
        match bundle.group_info {
            Some(data) => staged.ratchet_tree = require_group_info(&staged, data, limits)?,
            None if policy.require_group_info => {
                return refuse(Code::CommitMissingGroupInfo, "a commit must come with a GroupInfo")
            }
            None => {}
        }
        Ok(staged)
    }

    fn staged_commit(&self, processed: ProcessedMessage) -> Outcome<(Box<StagedCommit>, LeafNodeIndex, bool)> {
        let sender = processed.sender().clone();
        let ProcessedMessageContent::StagedCommitMessage(commit) = processed.into_content() else {
            return refuse(Code::WrongType, "not a commit");
        };
        match sender {
            Sender::Member(leaf) => Ok((commit, leaf, false)),
            Sender::NewMemberCommit => {
                let leaf = self.group.ext_commit_sender_index(&commit).map_err(library)?;
                Ok((commit, leaf, true))
            }
            _ => refuse(Code::BadSender, "this sender cannot commit"),
        }
    }

    /// Each key package added is named by the Welcomes once, and no other.
    fn require_welcomes(&self, changes: &Changes, welcomes: &[&[u8]], limits: &Limits) -> Outcome<()> {
        let mut wanted: HashSet<&[u8]> = changes.added_references().collect();
        let mut seen = HashSet::new();
        for data in welcomes {
            let info = welcome::read(data, limits)?;
            if info.ciphersuite != u16::from(self.group.ciphersuite()) {
                return refuse(Code::WelcomeCiphersuite, "another suite than the group's");
            }
            for reference in info.references.0 {
                let expected = wanted.remove(reference.as_slice());
                if !seen.insert(reference) {
                    return refuse(Code::WelcomeDuplicateReference, "two Welcomes for one key package");
                }
                if !expected {
                    return refuse(
                        Code::WelcomeUnexpected,
                        "a Welcome for somebody the commit does not add",
                    );
                }
            }
        }
        if !wanted.is_empty() {
            return refuse(
                Code::WelcomeMissing,
                format!("{} added without a Welcome", wanted.len()),
            );
        }
        Ok(())
    }

    /// Consumes the group: when it fails, what is left is no state at all.
    pub fn merge(mut self, staged: Staged) -> Outcome<(CommitInfo, Tracked)> {
        let epoch_before = self.group.group_context().epoch().as_u64();
        let epoch_after = staged.commit.epoch().as_u64();
        let covered = covered(&staged.commit);
        let extensions_changed = proposes(&staged.commit, |proposal| {
            matches!(proposal, Proposal::GroupContextExtensions(_))
        });
        let used_psk = proposes(&staged.commit, |proposal| matches!(proposal, Proposal::PreSharedKey(_)));
        self.group
            .merge_commit(&self.store, *staged.commit)
            .map_err(|_| refusal(Code::Storage, "the commit could not be merged"))?;
        self.pending.clear();
        self.require_tree(staged.ratchet_tree)?;
        let info = CommitInfo {
            kind: staged.changes.kind(),
            committer: staged.changes.committer.u32(),
            committer_identity: staged.changes.committer_after.identity(),
            committer_signature_key: staged.changes.committer_after.signature_key.clone(),
            authenticated_data: staged.authenticated_data,
            epoch_before,
            epoch_after,
            added: staged.changes.added_members(&self.group)?,
            removed: staged.changes.removed_members(),
            updated: staged.changes.updated_members(),
            covered,
            extensions_changed,
            used_psk,
            confirmation_tag: staged.confirmation_tag,
            group_context: staged.group_context,
        };
        Ok((info, self))
    }

    fn require_tree(&self, uploaded: Option<&[u8]>) -> Outcome<()> {
        match uploaded {
            Some(tree) if tree != self.ratchet_tree()? => {
                refuse(Code::GroupInfoTree, "the tree in the GroupInfo is not the new tree")
            }
            _ => Ok(()),
        }
    }
}

/// The confirmation tag.
fn require_acceptable_frame(public: &PublicMessageIn, policy: &Policy) -> Outcome<Vec<u8>> {
    if matches!(public.sender(), Sender::NewMemberCommit) && !policy.allow_external_join {
        return refuse(Code::PolicyExternalJoin, "external commits are not allowed here");
    }
    match public.confirmation_tag() {
        Some(tag) => tag_bytes(tag),
        None => refuse(Code::MissingConfirmationTag, "a commit without a confirmation tag"),
    }
}

fn proposes(commit: &StagedCommit, which: impl Fn(&Proposal) -> bool) -> bool {
    commit.queued_proposals().any(|queued| which(queued.proposal()))
}

fn covered(commit: &StagedCommit) -> crate::values::Tuple<Vec<u8>> {
    let by_reference = |queued: &&openmls::prelude::QueuedProposal| {
        matches!(queued.proposal_or_ref_type(), ProposalOrRefType::Reference)
    };
    let queued = commit.queued_proposals().filter(by_reference);
    queued
        .map(|queued| queued.proposal_reference_ref().as_slice().to_vec())
        .collect()
}

/// The GroupInfo of the new epoch, signed by the committer; the tree inside, if there is one.
fn require_group_info<'a>(staged: &Staged, data: &'a [u8], limits: &Limits) -> Outcome<Option<&'a [u8]>> {
    let (fields, unverified) = group_info::parse(data, limits)?;
    if fields.group_context != staged.group_context {
        return refuse(Code::GroupInfoContext, "not the context of the new epoch");
    }
    if fields.confirmation_tag != staged.confirmation_tag {
        return refuse(Code::GroupInfoConfirmationTag, "not the commit's confirmation tag");
    }
    if fields.signer != staged.changes.committer.u32() {
        return refuse(Code::GroupInfoSigner, "not signed by the committer");
    }
    fields.require_external_pub()?;
    group_info::verify(unverified, &staged.changes.committer_after.signature_key)?;
    Ok(fields.ratchet_tree)
}
