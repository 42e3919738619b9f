use pyo3::prelude::*;

use crate::values::Tuple;

/// What an accepted commit did (RFC 9420 section 12.4).
#[pyclass(frozen, get_all, module = "openmls.delivery")]
pub struct CommitInfo {
    pub kind: &'static str,
    pub committer: u32,
    pub committer_identity: Option<Vec<u8>>,
    pub committer_signature_key: Vec<u8>,
    pub authenticated_data: Vec<u8>,
    pub epoch_before: u64,
    pub epoch_after: u64,
    pub added: Tuple<AddedMember>,
    pub removed: Tuple<RemovedMember>,
    pub updated: Tuple<UpdatedMember>,
    pub covered: Tuple<Vec<u8>>,
    pub extensions_changed: bool,
    pub used_psk: bool,
    pub confirmation_tag: Vec<u8>,
    pub group_context: Vec<u8>,
}

/// A member the commit let in.
#[pyclass(frozen, get_all, skip_from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct AddedMember {
    pub leaf_index: u32,
    pub reference: Option<Vec<u8>>,
    pub identity: Option<Vec<u8>>,
    pub signature_key: Vec<u8>,
}

/// A member the commit put out.
#[pyclass(frozen, get_all, skip_from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct RemovedMember {
    pub leaf_index: u32,
    pub identity: Option<Vec<u8>>,
    pub signature_key: Vec<u8>,
    pub by: &'static str,
}

/// A member whose leaf the commit replaced: the committer's by its path, others' by their Update proposals.
#[pyclass(frozen, get_all, skip_from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct UpdatedMember {
    pub leaf_index: u32,
    pub old_identity: Option<Vec<u8>>,
    pub new_identity: Option<Vec<u8>>,
    pub old_signature_key: Vec<u8>,
    pub new_signature_key: Vec<u8>,
}
