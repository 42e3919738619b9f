//! What value classes are made of.
use openmls::prelude::{Credential, CredentialType, LeafNode};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::delivery::reader::Reader;
use tls_codec::Serialize as _;

/// A vector that Python sees as a tuple.
#[derive(Clone, Debug)]
pub struct Tuple<T>(pub Vec<T>);

impl<T> Default for Tuple<T> {
    fn default() -> Self {
        Tuple(Vec::new())
    }
}

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for Tuple<T> {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0)
    }
}

impl<T> FromIterator<T> for Tuple<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Tuple(items.into_iter().collect())
    }
}

/// Who a leaf says it is, and the keys it says it with.
#[derive(Clone, Debug)]
pub struct Who {
    pub credential: Credential,
    pub signature_key: Vec<u8>,
    pub encryption_key: Vec<u8>,
}

impl Who {
    pub fn of(leaf: &LeafNode) -> Self {
        Who {
            credential: leaf.credential().clone(),
            signature_key: leaf.signature_key().as_slice().to_vec(),
            encryption_key: encryption_key(leaf, &mut Vec::new()).to_vec(),
        }
    }

    pub fn identity(&self) -> Option<Vec<u8>> {
        identity(&self.credential)
    }
}

/// The identity of a basic credential.
pub fn identity(credential: &Credential) -> Option<Vec<u8>> {
    let basic = credential.credential_type() == CredentialType::Basic;
    basic.then(|| credential.serialized_content().to_vec())
}

/// `EncryptionKey` shows its bytes only in its encoding, which goes into the buffer.
pub fn encryption_key<'a>(leaf: &LeafNode, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    buffer.clear();
    match leaf.encryption_key().tls_serialize(buffer) {
        Ok(_) => Reader::new(buffer).vector().unwrap_or_default(),
        Err(_) => &[],
    }
}
