use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{
    ContentType, MlsMessageIn, OpenMlsProvider, ProcessedMessage, ProcessedMessageContent, ProtocolMessage,
    QueuedProposal, Sender,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use pyo3::prelude::*;

use crate::client::config;
use crate::client::errors::{encrypting, failing, processing};
use crate::client::state::{Device, Membership};
use crate::error::{refusal, refuse, Code, Outcome};
use crate::openmls_error::{decoding, library};
use crate::values::identity;

/// What a message was.
#[pyclass(frozen, get_all, module = "openmls.client")]
pub struct Processed {
    kind: &'static str,
    data: Option<Vec<u8>>,
    sender_index: Option<u32>,
    sender_identity: Option<Vec<u8>>,
    epoch: u64,
    authenticated_data: Vec<u8>,
}

impl Device {
    pub fn encrypt(&mut self, group_id: &[u8], data: &[u8], authenticated_data: &[u8]) -> Outcome<Vec<u8>> {
        self.with(group_id, |own, provider| {
            own.group.set_aad(authenticated_data.to_vec());
            let message = own.group.create_message(provider, own.signer.signer(), data);
            // A refusal leaves it set, for whatever is made next.
            own.group.set_aad(Vec::new());
            message.map_err(encrypting)?.to_bytes().map_err(library)
        })
    }

    pub fn process(&mut self, group_id: &[u8], message: &[u8]) -> Outcome<Processed> {
        config::limits().require_message_size(message)?;
        let decoded = MlsMessageIn::tls_deserialize_exact(message).map_err(decoding("MLSMessage"))?;
        let protocol = decoded
            .try_into_protocol_message()
            .map_err(|_| refusal(Code::WrongType, "not a message of a group"))?;
        if protocol.content_type() == ContentType::Application {
            // OpenMLS gives up a key only once the message was read.
            return self.with(group_id, |own, provider| own.process(provider, protocol));
        }
        self.change(group_id, |own, provider| {
            if own.sent_commit.as_deref() == Some(message) {
                return own.process_sent_commit(provider);
            }
            own.process(provider, protocol)
        })
    }
}

impl Membership {
    /// By its bytes, as no client can read what it encrypted itself.
    fn process_sent_commit(&mut self, provider: &OpenMlsRustCrypto) -> Outcome<Processed> {
        if self.group.pending_commit().is_some() {
            self.confirm(provider)?;
        }
        Ok(Processed {
            kind: "own",
            data: None,
            sender_index: Some(self.group.own_leaf_index().u32()),
            sender_identity: self.own_identity(),
            epoch: self.group.epoch().as_u64(),
            authenticated_data: Vec::new(),
        })
    }

    fn own_identity(&self) -> Option<Vec<u8>> {
        let leaf = self.group.own_leaf_node()?;
        identity(leaf.credential())
    }

    fn process(&mut self, provider: &OpenMlsRustCrypto, message: ProtocolMessage) -> Outcome<Processed> {
        if message.group_id() != self.group.group_id() {
            return refuse(Code::WrongGroup, "a message of another group");
        }
        let processed = self.group.process_message(provider, message).map_err(processing)?;
        let outside = self.outside(&processed);
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => Ok(Processed {
                kind: "application",
                data: Some(message.into_bytes()),
                ..outside
            }),
            ProcessedMessageContent::ProposalMessage(proposal)
            | ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => {
                self.keep(provider, *proposal)?;
                let own = outside.sender_index == Some(self.group.own_leaf_index().u32());
                let kind = if own { "own" } else { "proposal" };
                Ok(Processed { kind, ..outside })
            }
            ProcessedMessageContent::StagedCommitMessage(commit) => {
                let epoch = commit.epoch().as_u64();
                self.group
                    .merge_staged_commit(provider, *commit)
                    .map_err(failing(Code::Commit))?;
                self.next_signer = None;
                self.sent_commit = None;
                Ok(Processed {
                    kind: "commit",
                    epoch,
                    ..outside
                })
            }
            ProcessedMessageContent::OwnPendingCommit => Ok(Processed {
                kind: "own",
                epoch: self.confirm(provider)?,
                ..outside
            }),
            ProcessedMessageContent::OwnPrivateMessage => Ok(Processed { kind: "own", ..outside }),
        }
    }

    fn outside(&self, processed: &ProcessedMessage) -> Processed {
        Processed {
            kind: "",
            data: None,
            sender_index: match processed.sender() {
                Sender::Member(leaf) => Some(leaf.u32()),
                _ => None,
            },
            sender_identity: identity(processed.credential()),
            epoch: processed.epoch().as_u64(),
            authenticated_data: processed.aad().to_vec(),
        }
    }

    fn keep(&mut self, provider: &OpenMlsRustCrypto, proposal: QueuedProposal) -> Outcome<()> {
        let reference = proposal.proposal_reference_ref();
        let known = |other: &QueuedProposal| other.proposal_reference_ref() == reference;
        if self.group.pending_proposals().any(known) {
            return Ok(());
        }
        self.group
            .store_pending_proposal(provider.storage(), proposal)
            .map_err(library)
    }
}
