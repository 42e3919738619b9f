use pyo3::prelude::*;

use crate::error::{refuse, Code, Outcome};
use crate::suite;
use crate::values::Tuple;

/// How large the things may be that a call accepts.
#[pyclass(frozen, get_all, from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct Limits {
    pub max_message_bytes: usize,
    pub max_tree_bytes: usize,
    pub max_members: usize,
    pub max_pending_proposals: usize,
    pub max_pending_proposals_per_member: usize,
    pub max_lifetime_seconds: u64,
    pub ciphersuites: Tuple<u16>,
}

const MIB: usize = 1024 * 1024;
const DAY: u64 = 24 * 60 * 60;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_message_bytes: 4 * MIB,
            max_tree_bytes: 8 * MIB,
            max_members: 2000,
            max_pending_proposals: 256,
            max_pending_proposals_per_member: 32,
            max_lifetime_seconds: 400 * DAY,
            ciphersuites: Tuple(vec![1, 2, 3]),
        }
    }
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(
        signature = (
            *, max_message_bytes=4194304, max_tree_bytes=8388608, max_members=2000, max_pending_proposals=256,
            max_pending_proposals_per_member=32, max_lifetime_seconds=34560000, ciphersuites=vec![1, 2, 3]
        ),
        text_signature = "(*, max_message_bytes=4194304, max_tree_bytes=8388608, max_members=2000, \
max_pending_proposals=256, max_pending_proposals_per_member=32, max_lifetime_seconds=34560000, ciphersuites=(1, 2, 3))"
    )]
    fn new(
        max_message_bytes: usize,
        max_tree_bytes: usize,
        max_members: usize,
        max_pending_proposals: usize,
        max_pending_proposals_per_member: usize,
        max_lifetime_seconds: u64,
        ciphersuites: Vec<u16>,
    ) -> Self {
        Limits {
            max_message_bytes,
            max_tree_bytes,
            max_members,
            max_pending_proposals,
            max_pending_proposals_per_member,
            max_lifetime_seconds,
            ciphersuites: Tuple(ciphersuites),
        }
    }
}

impl Limits {
    /// Twice the leaves of the smallest tree that holds the members.
    pub fn max_tree_nodes(&self) -> usize {
        self.max_members
            .checked_next_power_of_two()
            .and_then(|leaves| leaves.checked_mul(2))
            .unwrap_or(usize::MAX)
    }

    pub fn require_message_size(&self, message: &[u8]) -> Outcome<()> {
        within(message, self.max_message_bytes)
    }

    /// GroupInfos and Welcomes may carry a tree.
    pub fn require_tree_message_size(&self, message: &[u8]) -> Outcome<()> {
        within(message, self.max_tree_bytes)
    }

    pub fn require_ciphersuite(&self, number: u16) -> Outcome<()> {
        if !self.ciphersuites.0.contains(&number) {
            return refuse(Code::UnsupportedCiphersuite, format!("ciphersuite {number}"));
        }
        suite::supported(number).map(|_| ())
    }
}

fn within(message: &[u8], most: usize) -> Outcome<()> {
    if message.len() > most {
        return refuse(
            Code::MessageSize,
            format!("{} bytes, at most {most} allowed", message.len()),
        );
    }
    Ok(())
}

/// What a group is allowed to do beyond what every delivery service must refuse.
#[pyclass(frozen, get_all, from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct Policy {
    pub allow_custom: bool,
    pub allow_reinit: bool,
    pub allow_psk: bool,
    pub allow_external_join: bool,
    pub credential_may_change: bool,
    pub require_group_info: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy::new(false, false, true, true, false, false)
    }
}

impl Policy {
    /// For proposals that were accepted once.
    pub fn anything() -> Self {
        Policy::new(true, true, true, true, true, false)
    }
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (
        *, allow_custom=false, allow_reinit=false, allow_psk=true, allow_external_join=true,
        credential_may_change=false, require_group_info=false
    ))]
    fn new(
        allow_custom: bool,
        allow_reinit: bool,
        allow_psk: bool,
        allow_external_join: bool,
        credential_may_change: bool,
        require_group_info: bool,
    ) -> Self {
        Policy {
            allow_custom,
            allow_reinit,
            allow_psk,
            allow_external_join,
            credential_may_change,
            require_group_info,
        }
    }
}
