//! What a staged commit does to the membership, and what it may not do.
use std::collections::{HashMap, HashSet};

use openmls::prelude::{LeafNode, LeafNodeIndex, Proposal, PublicGroup, Sender, StagedCommit};

use super::info::{AddedMember, RemovedMember, UpdatedMember};
use crate::delivery::key_package;
use crate::delivery::limits::{Limits, Policy};
use crate::error::{refusal, refuse, Code, Outcome};
use crate::values::{encryption_key, Tuple, Who};

pub struct Changes {
    pub committer: LeafNodeIndex,
    /// The committer as the new tree has it.
    pub committer_after: Who,
    external: bool,
    added: Vec<Added>,
    removed: Vec<Removed>,
    updated: Vec<Updated>,
}

struct Added {
    /// None for the external committer.
    reference: Option<Vec<u8>>,
    who: Who,
}

struct Removed {
    leaf: LeafNodeIndex,
    who: Who,
    by: &'static str,
}

struct Updated {
    leaf: LeafNodeIndex,
    old: Who,
    new: Who,
}

impl Changes {
    pub fn of(
        group: &PublicGroup,
        commit: &StagedCommit,
        committer: LeafNodeIndex,
        external: bool,
        limits: &Limits,
    ) -> Outcome<Self> {
        let path = commit.update_path_leaf_node().map(Who::of);
        let mut changes = Changes {
            committer,
            committer_after: match &path {
                Some(new) => new.clone(),
                None => member(group, committer)?,
            },
            external,
            added: Vec::new(),
            removed: Vec::new(),
            updated: Vec::new(),
        };
        changes.read_proposals(group, commit, limits)?;
        match path {
            Some(who) if external => changes.added.push(Added { reference: None, who }),
            Some(new) => changes.updated.push(Updated {
                leaf: committer,
                old: member(group, committer)?,
                new,
            }),
            None if external => return refuse(Code::CommitMissingPath, "an external commit without a path"),
            None => {}
        }
        Ok(changes)
    }

    fn read_proposals(&mut self, group: &PublicGroup, commit: &StagedCommit, limits: &Limits) -> Outcome<()> {
        for queued in commit.queued_proposals() {
            match (queued.proposal(), queued.sender()) {
                (Proposal::Remove(remove), sender) => self.removed.push(Removed {
                    leaf: remove.removed(),
                    who: member(group, remove.removed())?,
                    by: asked_by(sender, remove.removed()),
                }),
                (Proposal::SelfRemove, Sender::Member(leaf)) => self.removed.push(Removed {
                    leaf: *leaf,
                    who: member(group, *leaf)?,
                    by: "self",
                }),
                (Proposal::Update(update), Sender::Member(leaf)) => self.updated.push(Updated {
                    leaf: *leaf,
                    old: member(group, *leaf)?,
                    new: Who::of(update.leaf_node()),
                }),
                (Proposal::Add(add), _) => {
                    key_package::require_acceptable(add.key_package(), limits)?;
                    self.added.push(Added {
                        reference: Some(key_package::reference(add.key_package())?),
                        who: Who::of(add.key_package().leaf_node()),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn kind(&self) -> &'static str {
        match (self.external, self.resynced()) {
            (false, _) => "member",
            (true, None) => "external_join",
            (true, Some(_)) => "external_resync",
        }
    }

    fn resynced(&self) -> Option<&Removed> {
        self.removed.iter().find(|removed| removed.by == "resync")
    }

    /// OpenMLS takes any credential: only the application knows who may be whom.
    pub fn require_same_credentials(&self, policy: &Policy) -> Outcome<()> {
        if let Some(old) = self.resynced() {
            if old.who.credential != self.committer_after.credential {
                return refuse(
                    Code::PolicyResyncIdentity,
                    "it would replace the leaf of another credential",
                );
            }
        }
        if policy.credential_may_change {
            return Ok(());
        }
        match self
            .updated
            .iter()
            .find(|updated| updated.old.credential != updated.new.credential)
        {
            Some(updated) => refuse(Code::PolicyCredentialChanged, format!("leaf {}", updated.leaf.u32())),
            None => Ok(()),
        }
    }

    /// OpenMLS overlooks the signature key of a path's leaf; a group where two members share one cannot be joined.
    ///
    /// Keys that stay are distinct already, so only the new ones are compared, with each other and with those.
    pub fn require_unique_keys(&self, group: &PublicGroup, limits: &Limits) -> Outcome<()> {
        let gone: HashSet<LeafNodeIndex> = self.removed.iter().map(|removed| removed.leaf).collect();
        let replaced: HashSet<LeafNodeIndex> = self.updated.iter().map(|updated| updated.leaf).collect();
        let mut keys = NewKeys::of(self.newcomers())?;
        let mut members = self.added.len();
        for (leaf, node) in group.treesync().full_leaves() {
            if gone.contains(&leaf) {
                continue;
            }
            members += 1;
            if !replaced.contains(&leaf) {
                keys.require_other(node)?;
            }
        }
        if members > limits.max_members {
            return refuse(Code::Members, format!("{members} members"));
        }
        Ok(())
    }

    fn newcomers(&self) -> impl Iterator<Item = &Who> {
        let updated = self.updated.iter().map(|updated| &updated.new);
        updated.chain(self.added.iter().map(|added| &added.who))
    }

    pub fn added_references(&self) -> impl Iterator<Item = &[u8]> {
        self.added.iter().filter_map(|added| added.reference.as_deref())
    }

    /// OpenMLS does not say where it puts whom; keys are unique, so the new tree does.
    pub fn added_members(&self, merged: &PublicGroup) -> Outcome<Tuple<AddedMember>> {
        if self.added.is_empty() {
            return Ok(Tuple::default());
        }
        let leaves: HashMap<&[u8], LeafNodeIndex> = merged
            .treesync()
            .full_leaves()
            .map(|(leaf, node)| (node.signature_key().as_slice(), leaf))
            .collect();
        let added = self.added.iter().map(|added| {
            let leaf = leaves
                .get(added.who.signature_key.as_slice())
                .ok_or_else(|| refusal(Code::Library, "an added member is not in the new tree"))?;
            Ok(AddedMember {
                leaf_index: leaf.u32(),
                reference: added.reference.clone(),
                identity: added.who.identity(),
                signature_key: added.who.signature_key.clone(),
            })
        });
        added.collect::<Outcome<Vec<_>>>().map(Tuple)
    }

    pub fn removed_members(&self) -> Tuple<RemovedMember> {
        let removed = self.removed.iter().map(|removed| RemovedMember {
            leaf_index: removed.leaf.u32(),
            identity: removed.who.identity(),
            signature_key: removed.who.signature_key.clone(),
            by: removed.by,
        });
        removed.collect()
    }

    pub fn updated_members(&self) -> Tuple<UpdatedMember> {
        let updated = self.updated.iter().map(|updated| UpdatedMember {
            leaf_index: updated.leaf.u32(),
            old_identity: updated.old.identity(),
            new_identity: updated.new.identity(),
            old_signature_key: updated.old.signature_key.clone(),
            new_signature_key: updated.new.signature_key.clone(),
        });
        updated.collect()
    }
}

fn member(group: &PublicGroup, leaf: LeafNodeIndex) -> Outcome<Who> {
    match group.leaf(leaf) {
        Some(node) => Ok(Who::of(node)),
        None => refuse(Code::CommitUnknownMember, format!("leaf {} is empty", leaf.u32())),
    }
}

fn asked_by(sender: &Sender, removed: LeafNodeIndex) -> &'static str {
    match sender {
        Sender::Member(leaf) if *leaf == removed => "self",
        Sender::Member(_) => "member",
        Sender::NewMemberCommit => "resync",
        Sender::External(_) | Sender::NewMemberProposal => "external",
    }
}

struct NewKeys<'a> {
    signature: HashSet<&'a [u8]>,
    encryption: HashSet<&'a [u8]>,
    buffer: Vec<u8>,
}

impl<'a> NewKeys<'a> {
    fn of(newcomers: impl Iterator<Item = &'a Who>) -> Outcome<Self> {
        let mut keys = NewKeys {
            signature: HashSet::new(),
            encryption: HashSet::new(),
            buffer: Vec::new(),
        };
        for who in newcomers {
            if !keys.signature.insert(&who.signature_key) {
                return shared_signature_key();
            }
            if !keys.encryption.insert(&who.encryption_key) {
                return shared_encryption_key();
            }
        }
        Ok(keys)
    }

    fn require_other(&mut self, node: &LeafNode) -> Outcome<()> {
        if self.signature.contains(node.signature_key().as_slice()) {
            return shared_signature_key();
        }
        if self.encryption.contains(encryption_key(node, &mut self.buffer)) {
            return shared_encryption_key();
        }
        Ok(())
    }
}

fn shared_signature_key<T>() -> Outcome<T> {
    refuse(
        Code::CommitDuplicateSignatureKey,
        "two members would share a signature key",
    )
}

fn shared_encryption_key<T>() -> Outcome<T> {
    refuse(
        Code::CommitDuplicateEncryptionKey,
        "two members would share an encryption key",
    )
}
