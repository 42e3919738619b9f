//! A public group as OpenMLS holds it, and the ways to come by one.
use openmls::group::InterimTranscriptHash;
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    ConfirmationTag, ContentType, GroupContext, GroupId, MlsMessageBodyIn, MlsMessageIn, OpenMlsCrypto, ProposalStore,
    PublicGroup, PublicMessageIn, RatchetTreeIn,
};

use crate::delivery::group_info;
use crate::delivery::limits::{Limits, Policy};
use crate::delivery::peek::{wire_format, WireFormat};
use crate::delivery::proposal::ProposalInfo;
use crate::delivery::reader::{write_vector, Reader};
use crate::delivery::store::{encode, storage_refusal, Store, Values};
use crate::delivery::stored_tree::stored_tree;
use crate::delivery::tree::{self, Node};
use crate::error::{refusal, refuse, Code, Outcome};
use crate::openmls_error::{creation, decoding, encoding, library};
use crate::suite::crypto;

pub struct Tracked {
    pub group: PublicGroup,
    pub store: Store,
    pub pending: Vec<ProposalInfo>,
}

/// A `Tracked` at rest: from which it can be had again and again.
#[derive(Clone)]
pub struct Resting {
    values: Values,
    pending: Vec<ProposalInfo>,
}

/// What was stored of a group, each part as RFC 9420 encodes it.
pub struct Parts<'a> {
    pub ratchet_tree: &'a [u8],
    pub group_context: &'a [u8],
    pub confirmation_tag: &'a [u8],
}

impl PartialEq for Resting {
    /// The pending proposals are among the values.
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Tracked {
    pub fn create(data: &[u8], ratchet_tree: Option<&[u8]>, limits: &Limits) -> Outcome<Self> {
        let (fields, unverified) = group_info::parse(data, limits)?;
        fields.require_external_pub()?;
        let Some(encoded) = ratchet_tree.or(fields.ratchet_tree) else {
            return refuse(
                Code::GroupInfoMissingTree,
                "no ratchet tree, neither beside it nor inside",
            );
        };
        tree::require_size(encoded, limits)?;
        let nodes = RatchetTreeIn::tls_deserialize_exact(encoded).map_err(decoding("ratchet tree"))?;
        let store = Store::default();
        let (group, _) =
            PublicGroup::from_external(crypto(), &store, nodes, unverified, ProposalStore::new()).map_err(creation)?;
        Ok(Tracked {
            group,
            store,
            pending: Vec::new(),
        })
    }

    /// Proposals that a key package's end has made invalid are left out.
    pub fn rebuild(parts: &Parts, proposals: &[&[u8]], verify: bool, limits: &Limits) -> Outcome<Self> {
        let values = values(parts, verify, limits)?;
        let mut tracked = Tracked::wake(&Resting {
            values,
            pending: Vec::new(),
        })?;
        for message in proposals {
            match tracked.examine(message, limits, &Policy::anything()) {
                Ok(proposal) => tracked.add(proposal)?,
                Err(ended) if ended.code == Code::KeyPackageExpired => {}
                Err(other) => return Err(other),
            }
        }
        Ok(tracked)
    }

    pub fn wake(resting: &Resting) -> Outcome<Self> {
        let store = Store::holding(resting.values.clone());
        let group = PublicGroup::load(&store, &GroupId::from_slice(&[]))
            .map_err(storage_refusal)?
            .ok_or_else(|| refusal(Code::Storage, "the group's state is incomplete"))?;
        Ok(Tracked {
            group,
            store,
            pending: resting.pending.clone(),
        })
    }

    pub fn rest(&self) -> Outcome<Resting> {
        let mut values = self.store.values();
        if values.tree.is_none() {
            values.tree = Some(encode(self.group.treesync()).map_err(storage_refusal)?.into());
        }
        Ok(Resting {
            values: values.clone(),
            pending: self.pending.clone(),
        })
    }

    pub fn ratchet_tree(&self) -> Outcome<Vec<u8>> {
        tree::encode(self.group.treesync())
    }

    pub fn group_context(&self) -> Outcome<Vec<u8>> {
        self.group.group_context().tls_serialize_detached().map_err(encoding)
    }
}

pub fn tag_bytes(tag: &ConfirmationTag) -> Outcome<Vec<u8>> {
    let encoded = tag.tls_serialize_detached().map_err(encoding)?;
    Ok(Reader::new(&encoded).vector()?.to_vec())
}

/// A handshake message must be a PublicMessage: nobody but members can read what a PrivateMessage proposes.
pub fn public_message(message: &[u8], content: ContentType, limits: &Limits) -> Outcome<PublicMessageIn> {
    limits.require_message_size(message)?;
    match wire_format(&mut Reader::new(message))? {
        WireFormat::PublicMessage => {}
        WireFormat::PrivateMessage => return refuse(Code::PrivateMessage, "a PrivateMessage cannot be followed"),
        _ => return refuse(Code::WrongType, "not a PublicMessage"),
    }
    let decoded = MlsMessageIn::tls_deserialize_exact(message).map_err(decoding("PublicMessage"))?;
    match decoded.extract() {
        MlsMessageBodyIn::PublicMessage(public) if public.content_type() == content => Ok(public),
        _ => refuse(Code::WrongType, format!("not a {content:?}").to_lowercase()),
    }
}

/// The values OpenMLS would have stored for a group of these parts.
fn values(parts: &Parts, verify: bool, limits: &Limits) -> Outcome<Values> {
    let nodes = tree::nodes(parts.ratchet_tree, limits)?;
    limits.require_message_size(parts.group_context)?;
    limits.require_message_size(parts.confirmation_tag)?;
    let context = GroupContext::tls_deserialize_exact(parts.group_context).map_err(decoding("GroupContext"))?;
    limits.require_ciphersuite(context.ciphersuite().into())?;
    let mut tag = Vec::new();
    write_vector(&mut tag, parts.confirmation_tag);
    let mut transcript = context.confirmed_transcript_hash().to_vec();
    transcript.extend_from_slice(&tag);
    // RFC 9420 section 8.2.
    let interim = crypto()
        .hash(context.ciphersuite().hash_algorithm(), &transcript)
        .map_err(library)?;
    let tag = ConfirmationTag::tls_deserialize_exact(tag.as_slice()).map_err(decoding("confirmation tag"))?;
    let tree = stored_tree(&nodes, context.tree_hash())?;
    if verify {
        require_valid(&nodes, parts.ratchet_tree, &context)?;
    }
    Ok(Values {
        tree: Some(tree.into()),
        context: encode(&context).map_err(storage_refusal)?,
        interim_transcript_hash: encode(&InterimTranscriptHash(interim)).map_err(storage_refusal)?,
        confirmation_tag: encode(&tag).map_err(storage_refusal)?,
        proposals: Vec::new(),
    })
}

fn require_valid(nodes: &[Node], encoded: &[u8], context: &GroupContext) -> Outcome<()> {
    let decoded = RatchetTreeIn::tls_deserialize_exact(encoded).map_err(decoding("ratchet tree"))?;
    if tree::hash(nodes, context.ciphersuite().hash_algorithm())? != context.tree_hash() {
        return refuse(Code::StateInconsistent, "the tree is not the one of the GroupContext");
    }
    decoded
        .into_verified(context.ciphersuite(), crypto(), context.group_id())
        .map(|_| ())
        .map_err(|error| refusal(Code::TreeInvalid, error.to_string()))
}
