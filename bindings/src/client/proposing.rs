use openmls::prelude::{LeafNodeIndex, LeafNodeParameters, MlsMessageOut, OpenMlsProvider, ProposalType};
use openmls_rust_crypto::OpenMlsRustCrypto;

use crate::client::committing::read_key_package;
use crate::client::errors::failing;
use crate::client::state::{Device, Membership};
use crate::error::{refuse, Code, Outcome};
use crate::openmls_error::library;

impl Device {
    pub fn propose_add(&mut self, group_id: &[u8], data: &[u8]) -> Outcome<Vec<u8>> {
        let package = read_key_package(data)?;
        self.propose(group_id, |own, provider| {
            let proposed = own.group.propose_add_member(provider, own.signer.signer(), &package);
            Ok(proposed.map_err(failing(Code::Propose))?.0)
        })
    }

    pub fn propose_remove(&mut self, group_id: &[u8], leaf: u32) -> Outcome<Vec<u8>> {
        self.propose(group_id, |own, provider| {
            let leaf = LeafNodeIndex::new(leaf);
            let proposed = own.group.propose_remove_member(provider, own.signer.signer(), leaf);
            Ok(proposed.map_err(failing(Code::Propose))?.0)
        })
    }

    pub fn propose_update(&mut self, group_id: &[u8]) -> Outcome<Vec<u8>> {
        self.propose(group_id, |own, provider| {
            let leaf = LeafNodeParameters::default();
            let proposed = own.group.propose_self_update(provider, own.signer.signer(), leaf);
            Ok(proposed.map_err(failing(Code::Propose))?.0)
        })
    }

    pub fn propose_self_remove(&mut self, group_id: &[u8]) -> Outcome<Vec<u8>> {
        self.propose(group_id, |own, provider| {
            require_self_remove_support(own)?;
            let proposed = own.group.leave_group_via_self_remove(provider, own.signer.signer());
            proposed.map_err(failing(Code::Propose))
        })
    }

    pub fn propose_leave(&mut self, group_id: &[u8]) -> Outcome<Vec<u8>> {
        self.propose(group_id, |own, provider| {
            let proposed = own.group.leave_group(provider, own.signer.signer());
            proposed.map_err(failing(Code::Propose))
        })
    }

    fn propose(
        &mut self,
        group_id: &[u8],
        make: impl FnOnce(&mut Membership, &OpenMlsRustCrypto) -> Outcome<MlsMessageOut>,
    ) -> Outcome<Vec<u8>> {
        self.change(group_id, |own, provider| {
            own.require_no_commit()?;
            make(own, provider)?.to_bytes().map_err(library)
        })
    }

    pub fn clear_proposals(&mut self, group_id: &[u8]) -> Outcome<()> {
        self.change(group_id, |own, provider| {
            own.group.clear_pending_proposals(provider.storage()).map_err(library)
        })
    }
}

fn require_self_remove_support(own: &Membership) -> Outcome<()> {
    let listed = |kinds: &[ProposalType]| kinds.contains(&ProposalType::SelfRemove);
    let mut leaves = own.group.treesync().full_leaves();
    if leaves.all(|(_, leaf)| listed(leaf.capabilities().proposals())) {
        return Ok(());
    }
    refuse(
        Code::ProposalSelfRemoveUnsupported,
        "some member does not list SelfRemove",
    )
}
