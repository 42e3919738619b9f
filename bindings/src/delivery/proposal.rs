use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    ContentType, KeyPackage, LeafNode, LeafNodeIndex, ProcessedMessageContent, Proposal, ProposalType, ProtocolMessage,
    QueuedProposal, Sender,
};
use pyo3::prelude::*;

use crate::delivery::key_package;
use crate::delivery::limits::{Limits, Policy};
use crate::delivery::store::storage_refusal;
use crate::delivery::tracked::{public_message, Tracked};
use crate::error::{refuse, Code, Outcome};
use crate::openmls_error::processing;
use crate::suite::crypto;
use crate::values::Who;

/// A proposal waiting to be committed (RFC 9420 section 12.1).
#[pyclass(frozen, get_all, skip_from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct ProposalInfo {
    pub kind: &'static str,
    pub sender_type: &'static str,
    pub sender_index: Option<u32>,
    pub reference: Vec<u8>,
    pub removed: Option<u32>,
    pub added: Option<ProposedMember>,
    pub new_signature_key: Option<Vec<u8>>,
    pub epoch: u64,
}

/// Whom an Add proposal would let in.
#[pyclass(frozen, get_all, skip_from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct ProposedMember {
    reference: Vec<u8>,
    identity: Option<Vec<u8>>,
    signature_key: Vec<u8>,
}

impl ProposalInfo {
    pub fn of(queued: &QueuedProposal, epoch: u64) -> Outcome<Self> {
        let (sender_type, sender_index) = sender(queued.sender());
        Ok(ProposalInfo {
            kind: kind(queued.proposal()),
            sender_type,
            sender_index,
            reference: queued.proposal_reference_ref().as_slice().to_vec(),
            removed: match queued.proposal() {
                Proposal::Remove(remove) => Some(remove.removed().u32()),
                Proposal::SelfRemove => sender_index,
                _ => None,
            },
            added: match queued.proposal() {
                Proposal::Add(add) => Some(ProposedMember::of(add.key_package())?),
                _ => None,
            },
            new_signature_key: match queued.proposal() {
                Proposal::Update(update) => Some(Who::of(update.leaf_node()).signature_key),
                _ => None,
            },
            epoch,
        })
    }
}

impl ProposedMember {
    fn of(package: &KeyPackage) -> Outcome<Self> {
        let who = Who::of(package.leaf_node());
        Ok(ProposedMember {
            reference: key_package::reference(package)?,
            identity: who.identity(),
            signature_key: who.signature_key,
        })
    }
}

fn kind(proposal: &Proposal) -> &'static str {
    match proposal {
        Proposal::Add(_) => "add",
        Proposal::Update(_) => "update",
        Proposal::Remove(_) => "remove",
        Proposal::SelfRemove => "self_remove",
        Proposal::PreSharedKey(_) => "psk",
        Proposal::ReInit(_) => "reinit",
        Proposal::ExternalInit(_) => "external_init",
        Proposal::GroupContextExtensions(_) => "group_context_extensions",
        Proposal::Custom(_) => "custom",
    }
}

fn sender(sender: &Sender) -> (&'static str, Option<u32>) {
    match sender {
        Sender::Member(leaf) => ("member", Some(leaf.u32())),
        Sender::External(place) => {
            // The number itself is private to OpenMLS.
            let encoded = place.tls_serialize_detached().unwrap_or_default();
            ("external", encoded.try_into().ok().map(u32::from_be_bytes))
        }
        Sender::NewMemberProposal => ("new_member_proposal", None),
        Sender::NewMemberCommit => ("new_member_commit", None),
    }
}

/// A proposal found good.
pub struct Examined {
    pub info: ProposalInfo,
    /// Nothing when it is pending already.
    queued: Option<Box<QueuedProposal>>,
}

impl Tracked {
    /// Changes nothing.
    pub fn examine(&self, message: &[u8], limits: &Limits, policy: &Policy) -> Outcome<Examined> {
        let public = public_message(message, ContentType::Proposal, limits)?;
        let processed = self
            .group
            .process_message(crypto(), ProtocolMessage::from(public))
            .map_err(processing)?;
        let epoch = processed.epoch().as_u64();
        let queued = match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(queued) => queued,
            ProcessedMessageContent::ExternalJoinProposalMessage(queued) => queued,
            _ => return refuse(Code::WrongType, "not a proposal"),
        };
        let info = ProposalInfo::of(&queued, epoch)?;
        if self.pending.iter().any(|known| known.reference == info.reference) {
            return Ok(Examined { info, queued: None });
        }
        self.require_room(&info, limits)?;
        require_allowed(queued.proposal(), policy)?;
        if matches!(queued.sender(), Sender::NewMemberProposal) && !policy.allow_external_join {
            return refuse(Code::PolicyExternalJoin, "strangers may not propose to join here");
        }
        self.require_sound(&queued, limits, policy)?;
        Ok(Examined {
            info,
            queued: Some(queued),
        })
    }

    pub fn add(&mut self, proposal: Examined) -> Outcome<()> {
        if let Some(queued) = proposal.queued {
            self.group.add_proposal(&self.store, *queued).map_err(storage_refusal)?;
            self.pending.push(proposal.info);
        }
        Ok(())
    }

    fn require_room(&self, info: &ProposalInfo, limits: &Limits) -> Outcome<()> {
        let by_sender =
            |known: &&ProposalInfo| (known.sender_type, known.sender_index) == (info.sender_type, info.sender_index);
        let of_member = self.pending.iter().filter(by_sender).count();
        let full = self.pending.len() >= limits.max_pending_proposals
            || info.sender_type == "member" && of_member >= limits.max_pending_proposals_per_member;
        if full {
            return refuse(Code::PendingProposals, "too many pending proposals");
        }
        Ok(())
    }

    /// OpenMLS looks at most of this when the proposal is committed, and then refuses the whole commit.
    fn require_sound(&self, queued: &QueuedProposal, limits: &Limits, policy: &Policy) -> Outcome<()> {
        match (queued.proposal(), queued.sender()) {
            (Proposal::Remove(remove), _) => self.require_member(remove.removed()),
            (Proposal::SelfRemove, _) => self.require_self_remove_support(),
            (Proposal::Add(add), _) => {
                key_package::require_acceptable(add.key_package(), limits)?;
                self.require_unused_keys(add.key_package().leaf_node(), None)
            }
            (Proposal::Update(update), Sender::Member(leaf)) => {
                self.require_same_credential(*leaf, update.leaf_node(), policy)?;
                self.require_unused_keys(update.leaf_node(), Some(*leaf))
            }
            _ => Ok(()),
        }
    }

    fn require_member(&self, leaf: LeafNodeIndex) -> Outcome<()> {
        match self.group.leaf(leaf) {
            Some(_) => Ok(()),
            None => refuse(Code::ProposalUnknownMember, format!("leaf {} is empty", leaf.u32())),
        }
    }

    /// One member that does not know the type would make every commit that covers it invalid.
    fn require_self_remove_support(&self) -> Outcome<()> {
        for (leaf, node) in self.group.treesync().full_leaves() {
            if !node.capabilities().proposals().contains(&ProposalType::SelfRemove) {
                return refuse(
                    Code::ProposalSelfRemoveUnsupported,
                    format!("leaf {} does not list SelfRemove", leaf.u32()),
                );
            }
        }
        Ok(())
    }

    fn require_same_credential(&self, leaf: LeafNodeIndex, new: &LeafNode, policy: &Policy) -> Outcome<()> {
        let old = self.group.leaf(leaf).map(|node| node.credential());
        if policy.credential_may_change || old == Some(new.credential()) {
            return Ok(());
        }
        refuse(Code::PolicyCredentialChanged, format!("leaf {}", leaf.u32()))
    }

    /// Whoever is about to be removed may be let in again with the same keys.
    fn require_unused_keys(&self, new: &LeafNode, own: Option<LeafNodeIndex>) -> Outcome<()> {
        for (leaf, other) in self.group.treesync().full_leaves() {
            let leaving = self.pending.iter().any(|info| info.removed == Some(leaf.u32()));
            if leaving {
                continue;
            }
            if Some(leaf) != own && other.signature_key() == new.signature_key() {
                return refuse(
                    Code::ProposalDuplicateSignatureKey,
                    format!("leaf {} has it", leaf.u32()),
                );
            }
            if other.encryption_key() == new.encryption_key() {
                return refuse(
                    Code::ProposalDuplicateEncryptionKey,
                    format!("leaf {} has it", leaf.u32()),
                );
            }
        }
        Ok(())
    }
}

/// Nothing follows a ReInit or a proposal of an unknown type: their effect would be lost.
pub fn require_allowed(proposal: &Proposal, policy: &Policy) -> Outcome<()> {
    match proposal {
        Proposal::Custom(_) if !policy.allow_custom => refuse(Code::PolicyCustomProposal, "a proposal of unknown type"),
        Proposal::ReInit(_) if !policy.allow_reinit => refuse(Code::PolicyReinit, "a ReInit proposal"),
        Proposal::PreSharedKey(_) if !policy.allow_psk => refuse(Code::PolicyPsk, "a PreSharedKey proposal"),
        _ => Ok(()),
    }
}
