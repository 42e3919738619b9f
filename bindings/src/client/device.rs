use std::sync::{Arc, Mutex, MutexGuard};

use openmls::prelude::{GroupId, KeyPackage, Lifetime, MlsGroup, MlsMessageOut, OpenMlsProvider};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::client::committing::CommitBundle;
use crate::client::config;
use crate::client::errors::failing;
use crate::client::group::Group;
use crate::client::joining::{ExternalJoin, WelcomeJoin};
use crate::client::signer::Signer;
use crate::client::state::{Device, Membership};
use crate::error::{refuse, Code, Outcome};
use crate::guard::guarded;
use crate::openmls_error::library;
use crate::values::Tuple;

/// One device: a basic credential, a signature key, unused key packages, and its groups.
#[pyclass(frozen, module = "openmls.client")]
pub struct Client(Arc<Shared>);

/// A device that its client and the handles of its groups share.
pub struct Shared(Mutex<Device>);

impl Shared {
    /// A panic may have left the device half changed.
    pub fn device(&self) -> Outcome<MutexGuard<'_, Device>> {
        match self.0.lock() {
            Ok(device) => Ok(device),
            Err(_) => refuse(Code::Broken, "an earlier call panicked; load the stored state"),
        }
    }
}

/// Seconds from now, or the two ends.
#[derive(FromPyObject)]
enum Span {
    Seconds(u64),
    Ends(u64, u64),
}

impl Span {
    fn lifetime(self) -> Lifetime {
        match self {
            Span::Seconds(seconds) => Lifetime::new(seconds),
            Span::Ends(not_before, not_after) => Lifetime::init(not_before, not_after),
        }
    }
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (identity, *, ciphersuite=1, signer=None))]
    fn new(py: Python<'_>, identity: &[u8], ciphersuite: u16, signer: Option<&Signer>) -> PyResult<Self> {
        let signer = signer.map(|signer| signer.0.clone());
        guarded(py, || Ok(Self::of(Device::new(identity, ciphersuite, signer)?)))
    }

    /// From ``state``.
    #[staticmethod]
    fn load(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        guarded(py, || Ok(Self::of(Device::load(state)?)))
    }

    /// Everything: keys of unused packages, groups, commits not yet confirmed. Keep it secret.
    fn state(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        guarded(py, || self.0.device()?.save())
    }

    #[getter]
    fn identity(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        guarded(py, || Ok(self.0.device()?.identity.clone()))
    }

    #[getter]
    fn ciphersuite(&self, py: Python<'_>) -> PyResult<u16> {
        guarded(py, || Ok(self.0.device()?.suite.into()))
    }

    /// The key of key packages and of groups joined from now on.
    #[getter]
    fn signer(&self, py: Python<'_>) -> PyResult<Signer> {
        guarded(py, || Ok(Signer(self.0.device()?.signer.clone())))
    }

    /// New key packages, each in an MLSMessage; their private keys stay in the client.
    #[pyo3(signature = (count, *, last_resort=false, lifetime=None))]
    fn key_packages(
        &self,
        py: Python<'_>,
        count: usize,
        last_resort: bool,
        lifetime: Option<Span>,
    ) -> PyResult<Vec<Vec<u8>>> {
        guarded(py, || {
            let device = self.0.device()?;
            let lifetime = lifetime.map(Span::lifetime).unwrap_or_default();
            let package = || device.key_package(last_resort, lifetime);
            (0..count).map(|_| package()).collect()
        })
    }

    /// A group at epoch 0 with this client alone.
    #[pyo3(
        signature = (group_id, *, external_senders=Vec::new(), private_handshake=false),
        text_signature = "($self, group_id, *, external_senders=(), private_handshake=False)"
    )]
    fn create_group(
        &self,
        py: Python<'_>,
        group_id: &[u8],
        external_senders: Vec<(Vec<u8>, Vec<u8>)>,
        private_handshake: bool,
    ) -> PyResult<Group> {
        guarded(py, || {
            let mut device = self.0.device()?;
            device.create_group(group_id, external_senders, private_handshake)?;
            Ok(Group::of(&self.0, group_id.to_vec()))
        })
    }

    /// Enter by a Welcome (RFC 9420 section 12.4.3.1).
    #[pyo3(signature = (welcome, ratchet_tree=None, *, private_handshake=false))]
    fn join(
        &self,
        py: Python<'_>,
        welcome: &[u8],
        ratchet_tree: Option<&[u8]>,
        private_handshake: bool,
    ) -> PyResult<Group> {
        let join = WelcomeJoin {
            welcome,
            ratchet_tree,
            private_handshake,
        };
        guarded(py, || {
            let group_id = self.0.device()?.join(&join)?;
            Ok(Group::of(&self.0, group_id))
        })
    }

    /// Enter by an external commit (RFC 9420 section 12.4.3.2); the commit has still to be sent.
    #[pyo3(
        signature = (
            group_info, ratchet_tree=None, *, authenticated_data=b"".as_slice(), self_removes=Vec::new(), private_handshake=false
        ),
        text_signature = "($self, group_info, ratchet_tree=None, *, authenticated_data=b'', self_removes=(), \
private_handshake=False)"
    )]
    fn join_external(
        &self,
        py: Python<'_>,
        group_info: &[u8],
        ratchet_tree: Option<&[u8]>,
        authenticated_data: &[u8],
        self_removes: Vec<PyBackedBytes>,
        private_handshake: bool,
    ) -> PyResult<(Group, CommitBundle)> {
        let self_removes: Vec<&[u8]> = self_removes.iter().map(|message| &**message).collect();
        let join = ExternalJoin {
            group_info,
            ratchet_tree,
            authenticated_data,
            self_removes: &self_removes,
            private_handshake,
        };
        guarded(py, || {
            let (group_id, bundle) = self.0.device()?.join_external(&join)?;
            Ok((Group::of(&self.0, group_id), bundle))
        })
    }

    fn group(&self, py: Python<'_>, group_id: &[u8]) -> PyResult<Group> {
        guarded(py, || {
            self.0.device()?.membership(group_id)?;
            Ok(Group::of(&self.0, group_id.to_vec()))
        })
    }

    /// Sorted.
    fn group_ids(&self, py: Python<'_>) -> PyResult<Tuple<Vec<u8>>> {
        guarded(py, || Ok(self.0.device()?.groups.keys().cloned().collect()))
    }

    /// Delete the group's state and secrets here; nobody else learns of it.
    fn forget_group(&self, py: Python<'_>, group_id: &[u8]) -> PyResult<()> {
        guarded(py, || {
            let mut device = self.0.device()?;
            device.membership(group_id)?;
            device.forget(group_id)
        })
    }
}

impl Client {
    fn of(device: Device) -> Self {
        Client(Arc::new(Shared(Mutex::new(device))))
    }
}

impl Device {
    fn key_package(&self, last_resort: bool, lifetime: Lifetime) -> Outcome<Vec<u8>> {
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(config::capabilities())
            .key_package_lifetime(lifetime);
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let bundle = builder
            .build(
                self.suite,
                &self.provider,
                self.signer.signer(),
                self.credential(&self.signer),
            )
            .map_err(library)?;
        MlsMessageOut::from(bundle.key_package().clone())
            .to_bytes()
            .map_err(library)
    }

    fn create_group(
        &mut self,
        group_id: &[u8],
        external_senders: Vec<(Vec<u8>, Vec<u8>)>,
        private_handshake: bool,
    ) -> Outcome<()> {
        if self.groups.contains_key(group_id) {
            return refuse(Code::GroupExists, "this client has a group of this id");
        }
        let config = config::create(self.suite, external_senders, private_handshake)?;
        let group = MlsGroup::new_with_group_id(
            &self.provider,
            self.signer.signer(),
            &config,
            GroupId::from_slice(group_id),
            self.credential(&self.signer),
        )
        .map_err(failing(Code::Join))?;
        let membership = Membership::new(group, self.signer.clone());
        self.groups.insert(group_id.to_vec(), membership);
        Ok(())
    }

    /// Nothing when there is no such group.
    pub fn forget(&mut self, group_id: &[u8]) -> Outcome<()> {
        match self.groups.remove(group_id) {
            Some(mut membership) => membership.group.delete(self.provider.storage()).map_err(library),
            None => Ok(()),
        }
    }
}
