use std::sync::Arc;

use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{
    CommitMessageBundle, LeafNodeParameters, MlsGroup, MlsMessageBodyIn, MlsMessageIn, OpenMlsProvider,
    PublicMessageIn, RatchetTreeIn, StagedWelcome, Welcome,
};

use crate::client::committing::CommitBundle;
use crate::client::config;
use crate::client::errors::{committing, failing, joining, joining_external};
use crate::client::state::{Device, Membership};
use crate::delivery::{group_info, tree, welcome};
use crate::error::{refuse, Code, Outcome};
use crate::key_pair::KeyPair;
use crate::openmls_error::{decoding, library};

pub struct WelcomeJoin<'a> {
    pub welcome: &'a [u8],
    pub ratchet_tree: Option<&'a [u8]>,
    pub private_handshake: bool,
}

pub struct ExternalJoin<'a> {
    pub group_info: &'a [u8],
    pub ratchet_tree: Option<&'a [u8]>,
    pub authenticated_data: &'a [u8],
    pub self_removes: &'a [&'a [u8]],
    pub private_handshake: bool,
}

impl Device {
    /// The id of the group.
    pub fn join(&mut self, join: &WelcomeJoin) -> Outcome<Vec<u8>> {
        self.attempt(|device| {
            let group = device.welcomed(join)?;
            let group_id = group.group_id().to_vec();
            let membership = Membership::new(group, device.signer.clone());
            device.groups.insert(group_id.clone(), membership);
            Ok(group_id)
        })
    }

    fn welcomed(&self, join: &WelcomeJoin) -> Outcome<MlsGroup> {
        let config = config::join(join.private_handshake);
        let message = read_welcome(join.welcome)?;
        let mut builder = StagedWelcome::build_from_welcome(&self.provider, &config, message)
            .map_err(joining)?
            .replace_old_group();
        if let Some(nodes) = join.ratchet_tree.map(read_tree).transpose()? {
            builder = builder.with_ratchet_tree(nodes);
        }
        let staged = builder.skip_lifetime_validation().build().map_err(joining)?;
        let known = self.groups.get(staged.group_context().group_id().as_slice());
        if known.is_some_and(|membership| membership.group.is_active()) {
            return refuse(Code::GroupExists, "this client is a member already");
        }
        staged.into_group(&self.provider).map_err(joining)
    }

    pub fn join_external(&mut self, join: &ExternalJoin) -> Outcome<(Vec<u8>, CommitBundle)> {
        let (fields, _) = group_info::parse(join.group_info, &config::limits())?;
        let group_id = fields.group_id;
        let signer = self
            .groups
            .get(group_id)
            .map_or(&self.signer, |known| &known.signer)
            .clone();
        let known = self.groups.remove(group_id);
        let outcome = self.attempt(|device| {
            let (group, bundle) = device.external_commit(join, &signer)?;
            let bundle = CommitBundle::of(&bundle)?;
            let mut membership = Membership::new(group, signer);
            membership.sent_commit = Some(bundle.commit.clone());
            device.groups.insert(group_id.to_vec(), membership);
            Ok((group_id.to_vec(), bundle))
        });
        if let (Err(_), Some(known)) = (&outcome, known) {
            self.groups.insert(group_id.to_vec(), known);
        }
        outcome
    }

    fn external_commit(&self, join: &ExternalJoin, signer: &Arc<KeyPair>) -> Outcome<(MlsGroup, CommitMessageBundle)> {
        let (fields, unverified) = group_info::parse(join.group_info, &config::limits())?;
        fields.require_external_pub()?;
        let stored = MlsGroup::load(self.provider.storage(), unverified.group_id()).map_err(library)?;
        if let Some(mut old) = stored {
            old.delete(self.provider.storage()).map_err(library)?;
        }
        let self_removes = join.self_removes.iter().map(|message| read_proposal(message));
        let mut builder = MlsGroup::external_commit_builder()
            .with_config(config::join(join.private_handshake))
            .with_aad(join.authenticated_data.to_vec())
            .with_proposals(self_removes.collect::<Outcome<_>>()?)
            .skip_lifetime_validation();
        if let Some(nodes) = join.ratchet_tree.map(read_tree).transpose()? {
            builder = builder.with_ratchet_tree(nodes);
        }
        let leaf = LeafNodeParameters::builder()
            .with_capabilities(config::capabilities())
            .build();
        builder
            .build_group(&self.provider, unverified, self.credential(signer))
            .map_err(joining_external)?
            .leaf_node_parameters(leaf)
            .load_psks(self.provider.storage())
            .map_err(committing)?
            .create_group_info(true)
            .use_ratchet_tree_extension(false)
            .build(self.provider.rand(), self.provider.crypto(), signer.signer(), |_| true)
            .map_err(committing)?
            .finalize(&self.provider)
            .map_err(failing(Code::Join))
    }
}

fn read_welcome(data: &[u8]) -> Outcome<Welcome> {
    welcome::read(data, &config::limits())?;
    Welcome::tls_deserialize_exact(welcome::unwrap(data)).map_err(decoding("Welcome"))
}

fn read_tree(encoded: &[u8]) -> Outcome<RatchetTreeIn> {
    tree::require_size(encoded, &config::limits())?;
    RatchetTreeIn::tls_deserialize_exact(encoded).map_err(decoding("ratchet tree"))
}

fn read_proposal(message: &[u8]) -> Outcome<PublicMessageIn> {
    let decoded = MlsMessageIn::tls_deserialize_exact(message).map_err(decoding("PublicMessage"))?;
    match decoded.extract() {
        MlsMessageBodyIn::PublicMessage(public) => Ok(public),
        _ => refuse(Code::WrongType, "not a PublicMessage"),
    }
}
