//! Where OpenMLS keeps the public state of one group: encoded values in memory, the group id playing no part.
use std::sync::{Arc, Mutex, MutexGuard};

use openmls_traits::public_storage::PublicStorageProvider;
use openmls_traits::storage::{traits as t, CURRENT_VERSION as V};
use serde::{de::DeserializeOwned, Serialize};

use crate::error::{refusal, Code, Refusal};

pub type Stored<T> = Result<T, postcard::Error>;

pub fn storage_refusal(_: postcard::Error) -> Refusal {
    refusal(Code::Storage, "the group's state could not be encoded or decoded")
}

/// Cheap to clone. `tree` is what `TreeSync` serializes to, as it was when the store was made.
#[derive(Clone, Default, PartialEq)]
pub struct Values {
    pub tree: Option<Arc<Vec<u8>>>,
    pub context: Vec<u8>,
    pub interim_transcript_hash: Vec<u8>,
    pub confirmation_tag: Vec<u8>,
    /// References and proposals, in the order they came.
    pub proposals: Vec<(Vec<u8>, Arc<[u8]>)>,
}

#[derive(Default)]
pub struct Store(Mutex<Values>);

impl Store {
    pub fn holding(values: Values) -> Self {
        Store(Mutex::new(values))
    }

    pub fn values(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub fn encode<T: Serialize>(value: &T) -> Stored<Vec<u8>> {
    postcard::to_allocvec(value)
}

pub fn encode_into<T: Serialize>(out: &mut Vec<u8>, value: &T) -> Stored<()> {
    postcard::to_io(value, out).map(|_| ())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Stored<Option<T>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    postcard::from_bytes(bytes).map(Some)
}

impl PublicStorageProvider<V> for Store {
    type PublicError = postcard::Error;

    /// The group holds its tree; encoding it is left to whoever needs it encoded.
    fn write_tree<G: t::GroupId<V>, T: t::TreeSync<V>>(&self, _: &G, _: &T) -> Stored<()> {
        self.values().tree = None;
        Ok(())
    }

    fn write_interim_transcript_hash<G: t::GroupId<V>, T: t::InterimTranscriptHash<V>>(
        &self,
        _: &G,
        hash: &T,
    ) -> Stored<()> {
        self.values().interim_transcript_hash = encode(hash)?;
        Ok(())
    }

    fn write_context<G: t::GroupId<V>, T: t::GroupContext<V>>(&self, _: &G, context: &T) -> Stored<()> {
        self.values().context = encode(context)?;
        Ok(())
    }

    fn write_confirmation_tag<G: t::GroupId<V>, T: t::ConfirmationTag<V>>(&self, _: &G, tag: &T) -> Stored<()> {
        self.values().confirmation_tag = encode(tag)?;
        Ok(())
    }

    fn queue_proposal<G: t::GroupId<V>, R: t::ProposalRef<V>, Q: t::QueuedProposal<V>>(
        &self,
        _: &G,
        reference: &R,
        proposal: &Q,
    ) -> Stored<()> {
        let pair = (encode(reference)?, encode(proposal)?.into());
        self.values().proposals.push(pair);
        Ok(())
    }

    fn queued_proposals<G: t::GroupId<V>, R: t::ProposalRef<V>, Q: t::QueuedProposal<V>>(
        &self,
        _: &G,
    ) -> Stored<Vec<(R, Q)>> {
        let values = self.values();
        let pairs = values.proposals.iter();
        pairs
            .map(|(reference, proposal)| Ok((postcard::from_bytes(reference)?, postcard::from_bytes(proposal)?)))
            .collect()
    }

    fn tree<G: t::GroupId<V>, T: t::TreeSync<V>>(&self, _: &G) -> Stored<Option<T>> {
        let tree = self.values().tree.clone();
        tree.map(|bytes| postcard::from_bytes(&bytes)).transpose()
    }

    fn group_context<G: t::GroupId<V>, T: t::GroupContext<V>>(&self, _: &G) -> Stored<Option<T>> {
        decode(&self.values().context)
    }

    fn interim_transcript_hash<G: t::GroupId<V>, T: t::InterimTranscriptHash<V>>(&self, _: &G) -> Stored<Option<T>> {
        decode(&self.values().interim_transcript_hash)
    }

    fn confirmation_tag<G: t::GroupId<V>, T: t::ConfirmationTag<V>>(&self, _: &G) -> Stored<Option<T>> {
        decode(&self.values().confirmation_tag)
    }

    fn delete_tree<G: t::GroupId<V>>(&self, _: &G) -> Stored<()> {
        self.values().tree = None;
        Ok(())
    }

    fn delete_confirmation_tag<G: t::GroupId<V>>(&self, _: &G) -> Stored<()> {
        self.values().confirmation_tag.clear();
        Ok(())
    }

    fn delete_context<G: t::GroupId<V>>(&self, _: &G) -> Stored<()> {
        self.values().context.clear();
        Ok(())
    }

    fn delete_interim_transcript_hash<G: t::GroupId<V>>(&self, _: &G) -> Stored<()> {
        self.values().interim_transcript_hash.clear();
        Ok(())
    }

    fn remove_proposal<G: t::GroupId<V>, R: t::ProposalRef<V>>(&self, _: &G, reference: &R) -> Stored<()> {
        let reference = encode(reference)?;
        self.values().proposals.retain(|(known, _)| *known != reference);
        Ok(())
    }

    fn clear_proposal_queue<G: t::GroupId<V>, R: t::ProposalRef<V>>(&self, _: &G) -> Stored<()> {
        self.values().proposals.clear();
        Ok(())
    }
}
