use std::sync::Arc;

use openmls::prelude::{LeafNode, LeafNodeIndex, MlsGroup, OpenMlsProvider};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use tls_codec::Serialize as _;

use crate::client::committing::{CommitBundle, Wanted};
use crate::client::device::Shared;
use crate::client::errors::failing;
use crate::client::processing::Processed;
use crate::client::signer::Signer;
use crate::client::state::{Device, Membership};
use crate::delivery::proposal::ProposalInfo;
use crate::error::{Code, Outcome};
use crate::guard::guarded;
use crate::openmls_error::{encoding, library};
use crate::suite::crypto;
use crate::values::{Tuple, Who};

/// One group of a client. A handle: two handles of the same group see the same state.
#[pyclass(frozen, module = "openmls.client")]
pub struct Group {
    shared: Arc<Shared>,
    #[pyo3(get)]
    group_id: Vec<u8>,
}

/// One occupied leaf of the group's tree.
#[pyclass(frozen, get_all, skip_from_py_object, module = "openmls.client")]
#[derive(Clone)]
pub struct Member {
    leaf_index: u32,
    identity: Option<Vec<u8>>,
    credential_type: u16,
    signature_key: Vec<u8>,
    encryption_key: Vec<u8>,
    proposals: Tuple<u16>,
}

impl Member {
    fn of((leaf, node): (LeafNodeIndex, &LeafNode)) -> Self {
        let who = Who::of(node);
        Member {
            leaf_index: leaf.u32(),
            identity: who.identity(),
            credential_type: who.credential.credential_type().into(),
            signature_key: who.signature_key,
            encryption_key: who.encryption_key,
            proposals: node
                .capabilities()
                .proposals()
                .iter()
                .map(|kind| (*kind).into())
                .collect(),
        }
    }
}

impl Group {
    pub fn of(shared: &Arc<Shared>, group_id: Vec<u8>) -> Self {
        Group {
            shared: shared.clone(),
            group_id,
        }
    }

    fn ask<T: Send>(&self, py: Python<'_>, question: impl FnOnce(&Membership) -> T + Send) -> PyResult<T> {
        guarded(py, || Ok(question(self.shared.device()?.membership(&self.group_id)?)))
    }

    fn tell<T: Send>(
        &self,
        py: Python<'_>,
        order: impl FnOnce(&mut Device, &[u8]) -> Outcome<T> + Send,
    ) -> PyResult<T> {
        guarded(py, || order(&mut *self.shared.device()?, &self.group_id))
    }
}

#[pymethods]
impl Group {
    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, |own| own.group.epoch().as_u64())
    }

    #[getter]
    fn ciphersuite(&self, py: Python<'_>) -> PyResult<u16> {
        self.ask(py, |own| own.group.ciphersuite().into())
    }

    #[getter]
    fn own_leaf(&self, py: Python<'_>) -> PyResult<u32> {
        self.ask(py, |own| own.group.own_leaf_index().u32())
    }

    /// False once a commit has put this client out.
    #[getter]
    fn active(&self, py: Python<'_>) -> PyResult<bool> {
        self.ask(py, |own| own.group.is_active())
    }

    /// A commit was made that is neither confirmed nor discarded.
    #[getter]
    fn has_pending_commit(&self, py: Python<'_>) -> PyResult<bool> {
        self.ask(py, |own| own.group.pending_commit().is_some())
    }

    /// The key this client signs with in this group.
    #[getter]
    fn signer(&self, py: Python<'_>) -> PyResult<Signer> {
        self.ask(py, |own| Signer(own.signer.clone()))
    }

    /// Commit the pending proposals, and with them these changes (RFC 9420 section 12.4.1).
    #[pyo3(
        signature = (
            *, add=Vec::new(), remove=Vec::new(), update=false, with_tree=false, authenticated_data=b"".as_slice(),
            new_signer=None, external_senders=None
        ),
        text_signature = "($self, *, add=(), remove=(), update=False, with_tree=False, authenticated_data=b'', \
new_signer=None, external_senders=None)"
    )]
    fn commit(
        &self,
        py: Python<'_>,
        add: Vec<PyBackedBytes>,
        remove: Vec<u32>,
        update: bool,
        with_tree: bool,
        authenticated_data: &[u8],
        new_signer: Option<&Signer>,
        external_senders: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    ) -> PyResult<CommitBundle> {
        let add: Vec<&[u8]> = add.iter().map(|data| &**data).collect();
        let wanted = Wanted {
            add: &add,
            remove,
            update,
            with_tree,
            authenticated_data,
            new_signer: new_signer.map(|signer| signer.0.clone()),
            external_senders,
        };
        self.tell(py, |device, group_id| device.commit(group_id, wanted))
    }

    /// The delivery service took the commit: enter its epoch, which is returned.
    fn confirm(&self, py: Python<'_>) -> PyResult<u64> {
        self.tell(py, Device::confirm)
    }

    /// The delivery service refused the commit: forget it. Does nothing when there is none.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.tell(py, Device::discard)
    }

    fn propose_add(&self, py: Python<'_>, key_package: &[u8]) -> PyResult<Vec<u8>> {
        self.tell(py, |device, group_id| device.propose_add(group_id, key_package))
    }

    fn propose_remove(&self, py: Python<'_>, leaf_index: u32) -> PyResult<Vec<u8>> {
        self.tell(py, |device, group_id| device.propose_remove(group_id, leaf_index))
    }

    fn propose_update(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        self.tell(py, Device::propose_update)
    }

    /// A SelfRemove; every member must list proposal type 10, and no ``private_handshake``.
    fn propose_self_remove(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        self.tell(py, Device::propose_self_remove)
    }

    /// A Remove of this client itself, for somebody else to commit.
    fn propose_leave(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        self.tell(py, Device::propose_leave)
    }

    /// Forget the pending proposals.
    fn clear_proposals(&self, py: Python<'_>) -> PyResult<()> {
        self.tell(py, Device::clear_proposals)
    }

    fn pending_proposals(&self, py: Python<'_>) -> PyResult<Tuple<ProposalInfo>> {
        self.tell(py, |device, group_id| {
            let group = &device.membership(group_id)?.group;
            let epoch = group.epoch().as_u64();
            let pending = group.pending_proposals().map(|queued| ProposalInfo::of(queued, epoch));
            pending.collect::<Outcome<Vec<_>>>().map(Tuple)
        })
    }

    /// An application message for the members of this epoch.
    #[pyo3(
        signature = (data, *, authenticated_data=b"".as_slice()),
        text_signature = "($self, data, *, authenticated_data=b'')"
    )]
    fn encrypt(&self, py: Python<'_>, data: &[u8], authenticated_data: &[u8]) -> PyResult<Vec<u8>> {
        self.tell(py, |device, group_id| {
            device.encrypt(group_id, data, authenticated_data)
        })
    }

    /// Read a message of the group. A commit moves the group to the next epoch, a proposal becomes pending.
    fn process(&self, py: Python<'_>, message: &[u8]) -> PyResult<Processed> {
        self.tell(py, |device, group_id| device.process(group_id, message))
    }

    /// A GroupInfo of this epoch signed by this client, in an MLSMessage, with ``external_pub``.
    #[pyo3(signature = (with_tree=false))]
    fn group_info(&self, py: Python<'_>, with_tree: bool) -> PyResult<Vec<u8>> {
        self.tell(py, |device, group_id| {
            let own = device.membership(group_id)?;
            own.require_active()?;
            let exported = own
                .group
                .export_group_info(device.provider.crypto(), own.signer.signer(), with_tree);
            exported.map_err(failing(Code::Export))?.to_bytes().map_err(library)
        })
    }

    fn ratchet_tree(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        self.tell(py, |device, group_id| {
            let tree = device.membership(group_id)?.group.export_ratchet_tree();
            tree.tls_serialize_detached().map_err(encoding)
        })
    }

    fn members(&self, py: Python<'_>) -> PyResult<Tuple<Member>> {
        self.ask(py, |own| members(&own.group))
    }

    /// Equal for all members of an epoch and for nobody else (RFC 9420 section 8.7).
    fn epoch_authenticator(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        self.ask(py, |own| own.group.epoch_authenticator().as_slice().to_vec())
    }

    /// A secret of this epoch for another use (RFC 9420 section 8.5).
    fn export_secret(&self, py: Python<'_>, label: &str, context: &[u8], length: usize) -> PyResult<Vec<u8>> {
        self.tell(py, |device, group_id| {
            let own = device.membership(group_id)?;
            let exported = own.group.export_secret(crypto(), label, context, length);
            exported.map_err(failing(Code::Export))
        })
    }
}

fn members(group: &MlsGroup) -> Tuple<Member> {
    group.treesync().full_leaves().map(Member::of).collect()
}
