use std::sync::Arc;

use openmls::prelude::{
    CommitMessageBundle, CredentialWithKey, Extensions, GroupContext, KeyPackage, LeafNodeIndex, MlsMessageOut,
    NewSignerBundle, OpenMlsProvider,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use pyo3::prelude::*;

use crate::client::config;
use crate::client::errors::{committing, failing};
use crate::client::state::{require_scheme, Device, Membership};
use crate::delivery::key_package;
use crate::error::{refusal, Code, Outcome};
use crate::key_pair::KeyPair;
use crate::openmls_error::library;

/// What a new commit is made of, each part an MLSMessage.
#[pyclass(frozen, get_all, module = "openmls.client")]
pub struct CommitBundle {
    pub commit: Vec<u8>,
    welcome: Option<Vec<u8>>,
    group_info: Vec<u8>,
}

impl CommitBundle {
    pub fn of(bundle: &CommitMessageBundle) -> Outcome<Self> {
        let encode = |message: &MlsMessageOut| message.to_bytes().map_err(library);
        let group_info = bundle
            .group_info()
            .ok_or_else(|| refusal(Code::Library, "a commit without a GroupInfo"))?;
        Ok(CommitBundle {
            commit: encode(bundle.commit())?,
            welcome: bundle.to_welcome_msg().map(|welcome| encode(&welcome)).transpose()?,
            group_info: encode(&MlsMessageOut::from(group_info.clone()))?,
        })
    }
}

/// What is asked of a commit besides the pending proposals.
pub struct Wanted<'a> {
    pub add: &'a [&'a [u8]],
    pub remove: Vec<u32>,
    pub update: bool,
    pub with_tree: bool,
    pub authenticated_data: &'a [u8],
    pub new_signer: Option<Arc<KeyPair>>,
    pub external_senders: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Device {
    pub fn commit(&mut self, group_id: &[u8], mut wanted: Wanted) -> Outcome<CommitBundle> {
        if let Some(signer) = &wanted.new_signer {
            require_scheme(signer, self.suite)?;
        }
        let packages = wanted
            .add
            .iter()
            .map(|data| read_key_package(data))
            .collect::<Outcome<Vec<_>>>()?;
        let extensions = wanted.external_senders.take().map(config::listing).transpose()?;
        let renewed = wanted.new_signer.as_ref().map(|signer| self.credential(signer));
        self.change(group_id, |membership, provider| {
            membership.require_no_commit()?;
            let bundle = membership.stage(provider, &wanted, packages, extensions, renewed)?;
            let bundle = CommitBundle::of(&bundle)?;
            membership.next_signer = wanted.new_signer;
            membership.sent_commit = Some(bundle.commit.clone());
            Ok(bundle)
        })
    }

    /// The new epoch.
    pub fn confirm(&mut self, group_id: &[u8]) -> Outcome<u64> {
        self.change(group_id, |membership, provider| membership.confirm(provider))
    }

    pub fn discard(&mut self, group_id: &[u8]) -> Outcome<()> {
        self.change(group_id, |membership, provider| {
            if membership.group.pending_commit().is_some() {
                membership
                    .group
                    .clear_pending_commit(provider.storage())
                    .map_err(library)?;
                membership.next_signer = None;
                membership.sent_commit = None;
            }
            Ok(())
        })
    }
}

impl Membership {
    fn stage(
        &mut self,
        provider: &OpenMlsRustCrypto,
        wanted: &Wanted,
        packages: Vec<KeyPackage>,
        extensions: Option<Extensions<GroupContext>>,
        renewed: Option<CredentialWithKey>,
    ) -> Outcome<CommitMessageBundle> {
        self.group.set_aad(wanted.authenticated_data.to_vec());
        let builder = self.group.commit_builder();
        let builder = match extensions {
            Some(extensions) => builder
                .propose_group_context_extensions(extensions)
                .map_err(committing)?,
            None => builder,
        };
        let builder = builder
            .propose_adds(packages)
            .propose_removals(wanted.remove.iter().copied().map(LeafNodeIndex::new))
            .force_self_update(wanted.update || renewed.is_some())
            .load_psks(provider.storage())
            .map_err(committing)?
            .create_group_info(true)
            .use_ratchet_tree_extension(wanted.with_tree);
        let (rand, crypto, signer) = (provider.rand(), provider.crypto(), self.signer.signer());
        let built = match (&wanted.new_signer, renewed) {
            (Some(new), Some(credential_with_key)) => {
                let new = NewSignerBundle {
                    signer: new.signer(),
                    credential_with_key,
                };
                builder.build_with_new_signer(rand, crypto, signer, new, |_| true)
            }
            _ => builder.build(rand, crypto, signer, |_| true),
        };
        built
            .map_err(committing)?
            .stage_commit(provider)
            .map_err(failing(Code::Commit))
    }

    pub fn confirm(&mut self, provider: &OpenMlsRustCrypto) -> Outcome<u64> {
        if self.group.pending_commit().is_none() {
            return Err(refusal(Code::NoCommit, "there is no commit to confirm"));
        }
        self.group
            .merge_pending_commit(provider)
            .map_err(failing(Code::Commit))?;
        if let Some(signer) = self.next_signer.take() {
            self.signer = signer;
        }
        Ok(self.group.epoch().as_u64())
    }
}

pub fn read_key_package(data: &[u8]) -> Outcome<KeyPackage> {
    key_package::validated(key_package::unwrap(data)?, &config::limits())
}
