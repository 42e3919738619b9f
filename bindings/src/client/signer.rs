use std::sync::Arc;

use openmls_traits::signatures::Signer as _;
use pyo3::prelude::*;

use crate::guard::guarded;
use crate::key_pair::KeyPair;
use crate::openmls_error::library;

/// A signature key pair.
#[pyclass(frozen, module = "openmls.client")]
pub struct Signer(pub Arc<KeyPair>);

#[pymethods]
impl Signer {
    #[staticmethod]
    #[pyo3(signature = (ciphersuite=1))]
    fn generate(py: Python<'_>, ciphersuite: u16) -> PyResult<Self> {
        guarded(py, || Ok(Signer(KeyPair::generate(ciphersuite)?.into())))
    }

    /// From ``export``.
    #[staticmethod]
    fn load(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        guarded(py, || Ok(Signer(KeyPair::load(state)?.into())))
    }

    /// Private and public key. Keep it secret.
    fn export(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        guarded(py, || self.0.export())
    }

    #[getter]
    fn public(&self) -> Vec<u8> {
        self.0.public().to_vec()
    }

    /// A plain signature over ``data``, without the label MLS puts before what it signs.
    fn sign(&self, py: Python<'_>, data: &[u8]) -> PyResult<Vec<u8>> {
        guarded(py, || self.0.signer().sign(data).map_err(library))
    }
}
