use std::collections::HashSet;

use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::Welcome;
use pyo3::prelude::*;

use crate::delivery::limits::Limits;
use crate::delivery::reader::Reader;
use crate::error::{refuse, Code, Outcome};
use crate::guard::guarded;
use crate::openmls_error::decoding;
use crate::values::Tuple;

/// The outside of a Welcome (RFC 9420 section 12.4.3.1).
#[pyclass(frozen, get_all, module = "openmls.delivery")]
pub struct WelcomeInfo {
    pub ciphersuite: u16,
    pub references: Tuple<Vec<u8>>,
}

/// Read whom a Welcome, raw or in an MLSMessage, lets in.
#[pyfunction]
#[pyo3(signature = (data, *, limits=None))]
pub fn welcome(py: Python<'_>, data: &[u8], limits: Option<Limits>) -> PyResult<WelcomeInfo> {
    guarded(py, || read(data, &limits.unwrap_or_default()))
}

const HEADER: [u8; 4] = [0, 1, 0, 3];

pub fn read(data: &[u8], limits: &Limits) -> Outcome<WelcomeInfo> {
    limits.require_tree_message_size(data)?;
    let body = unwrap(data);
    let (ciphersuite, references) = match recipients(&mut Reader::new(body)) {
        Err(_) if other_message(data) => return refuse(Code::WrongType, "not a Welcome"),
        outcome => outcome?,
    };
    limits.require_ciphersuite(ciphersuite)?;
    Welcome::tls_deserialize_exact(body).map_err(decoding("Welcome"))?;
    if references.iter().collect::<HashSet<_>>().len() != references.len() {
        return refuse(Code::WelcomeDuplicateReference, "a key package is named twice");
    }
    let references = references.into_iter().map(<[u8]>::to_vec).collect();
    Ok(WelcomeInfo {
        ciphersuite,
        references,
    })
}

/// The Welcome without an MLSMessage header.
///
/// A raw one of suite 1 goes on with the length of its recipients, and the length 0 would let nobody in.
pub fn unwrap(data: &[u8]) -> &[u8] {
    data.strip_prefix(&HEADER).unwrap_or(data)
}

fn other_message(data: &[u8]) -> bool {
    matches!(data, [0, 1, 0, 1 | 2 | 4 | 5, ..])
}

/// The suite and the KeyPackageRefs of an encoded Welcome that ends where the input ends.
pub fn recipients<'a>(reader: &mut Reader<'a>) -> Outcome<(u16, Vec<&'a [u8]>)> {
    let ciphersuite = reader.u16()?;
    let mut secrets = Reader::new(reader.vector()?);
    let mut references = Vec::new();
    while !secrets.is_empty() {
        references.push(secrets.vector()?);
        secrets.vector()?; // KEM output
        secrets.vector()?; // ciphertext
    }
    reader.vector()?; // encrypted GroupInfo
    reader.end()?;
    Ok((ciphersuite, references))
}
