use openmls::prelude::{ExternalProposal, GroupId, LeafNodeIndex, SenderExtensionIndex};
use openmls_rust_crypto::OpenMlsRustCrypto;
use pyo3::prelude::*;

use crate::error::{refuse, Code};
use crate::guard::guarded;
use crate::key_pair::KeyPair;
use crate::openmls_error::library;

const SECRET_MIN_BYTES: usize = 32;

/// The key pair of an external sender: a server that groups allow to propose (RFC 9420 section 12.1.8.1).
#[pyclass(frozen, module = "openmls.delivery")]
pub struct ExternalSigner(KeyPair);

#[pymethods]
impl ExternalSigner {
    #[staticmethod]
    #[pyo3(signature = (ciphersuite=1))]
    fn generate(py: Python<'_>, ciphersuite: u16) -> PyResult<Self> {
        guarded(py, || KeyPair::generate(ciphersuite).map(ExternalSigner))
    }

    /// The pair that belongs to a secret of at least 32 bytes: the same every time.
    #[staticmethod]
    #[pyo3(signature = (secret, ciphersuite=1))]
    fn derive(py: Python<'_>, secret: &[u8], ciphersuite: u16) -> PyResult<Self> {
        guarded(py, || {
            if secret.len() < SECRET_MIN_BYTES {
                return refuse(Code::StateBadSigner, "the secret is too short");
            }
            KeyPair::derive(secret, ciphersuite).map(ExternalSigner)
        })
    }

    /// From ``export``.
    #[staticmethod]
    fn load(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        guarded(py, || KeyPair::load(state).map(ExternalSigner))
    }

    /// Private and public key. Keep it secret.
    fn export(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        guarded(py, || self.0.export())
    }

    /// The public key, as it stands in a group's list of external senders.
    #[getter]
    fn public(&self) -> Vec<u8> {
        self.0.public().to_vec()
    }

    /// A Remove proposal for this epoch, as a PublicMessage.
    #[pyo3(signature = (group_id, epoch, leaf_index, *, sender_index=0))]
    fn propose_remove(
        &self,
        py: Python<'_>,
        group_id: &[u8],
        epoch: u64,
        leaf_index: u32,
        sender_index: u32,
    ) -> PyResult<Vec<u8>> {
        guarded(py, || {
            // The provider is there for the error's type alone.
            let message = ExternalProposal::new_remove::<OpenMlsRustCrypto>(
                LeafNodeIndex::new(leaf_index),
                GroupId::from_slice(group_id),
                epoch.into(),
                self.0.signer(),
                SenderExtensionIndex::new(sender_index),
            );
            message.map_err(library)?.to_bytes().map_err(library)
        })
    }
}
