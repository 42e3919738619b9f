use std::sync::{Mutex, MutexGuard};

use openmls::treesync::LeafNodeSource;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use tls_codec::Serialize as _;

use crate::delivery::commit::{Bundle, CommitInfo};
use crate::delivery::limits::{Limits, Policy};
use crate::delivery::proposal::ProposalInfo;
use crate::delivery::reader::Reader;
use crate::delivery::tracked::{tag_bytes, Parts, Resting, Tracked};
use crate::error::{refuse, Code, Outcome};
use crate::guard::guarded;
use crate::openmls_error::encoding;
use crate::values::{Tuple, Who};

/// Identities, as far as they are basic credentials, and signature keys.
type ExternalSenders = Tuple<(Option<Vec<u8>>, Vec<u8>)>;

/// The public half of a group in one epoch. Never changes: a call that moves the group returns another object.
#[pyclass(frozen, module = "openmls.delivery")]
pub struct PublicGroup {
    #[pyo3(get)]
    group_id: Vec<u8>,
    #[pyo3(get)]
    epoch: u64,
    #[pyo3(get)]
    ciphersuite: u16,
    #[pyo3(get)]
    tree_hash: Vec<u8>,
    #[pyo3(get)]
    confirmation_tag: Vec<u8>,
    #[pyo3(get)]
    pending_proposals: Tuple<ProposalInfo>,
    #[pyo3(get)]
    external_senders: ExternalSenders,
    state: Mutex<State>,
}

/// One of the two is always there. The awake one is given away to be changed, and waking the other costs a decoding.
#[derive(Default)]
struct State {
    awake: Option<Tracked>,
    resting: Option<Resting>,
}

/// One occupied leaf of a group's tree.
#[pyclass(frozen, get_all, skip_from_py_object, module = "openmls.delivery")]
#[derive(Clone)]
pub struct MemberInfo {
    leaf_index: u32,
    identity: Option<Vec<u8>>,
    credential_type: u16,
    signature_key: Vec<u8>,
    encryption_key: Vec<u8>,
    lifetime: Option<(u64, u64)>,
    proposals: Tuple<u16>,
}

#[pymethods]
impl PublicGroup {
    /// Start to follow a group whose past is not known (RFC 9420 section 12.4.3.3).
    #[staticmethod]
    #[pyo3(signature = (group_info, ratchet_tree=None, *, limits=None))]
    fn create(
        py: Python<'_>,
        group_info: &[u8],
        ratchet_tree: Option<&[u8]>,
        limits: Option<Limits>,
    ) -> PyResult<Self> {
        guarded(py, || {
            Self::of(Tracked::create(group_info, ratchet_tree, &limits.unwrap_or_default())?)
        })
    }

    /// The same object again from what was stored.
    #[staticmethod]
    #[pyo3(
        signature = (
            *, ratchet_tree, group_context, confirmation_tag, proposals=Vec::new(), verify=false, limits=None
        ),
        text_signature = "(*, ratchet_tree, group_context, confirmation_tag, proposals=(), verify=False, limits=None)"
    )]
    fn rebuild(
        py: Python<'_>,
        ratchet_tree: &[u8],
        group_context: &[u8],
        confirmation_tag: &[u8],
        proposals: Vec<PyBackedBytes>,
        verify: bool,
        limits: Option<Limits>,
    ) -> PyResult<Self> {
        guarded(py, || {
            let parts = Parts {
                ratchet_tree,
                group_context,
                confirmation_tag,
            };
            let proposals: Vec<&[u8]> = proposals.iter().map(|message| &**message).collect();
            Self::of(Tracked::rebuild(
                &parts,
                &proposals,
                verify,
                &limits.unwrap_or_default(),
            )?)
        })
    }

    /// The encoded tree, as a ``ratchet_tree`` extension holds it (RFC 9420 section 12.4.3.3).
    fn ratchet_tree(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        guarded(py, || self.read(Tracked::ratchet_tree))
    }

    /// The encoded GroupContext (RFC 9420 section 8.1).
    fn group_context(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        guarded(py, || self.read(Tracked::group_context))
    }

    /// Occupied leaves, by index.
    fn members(&self, py: Python<'_>) -> PyResult<Tuple<MemberInfo>> {
        guarded(py, || self.read(members))
    }

    /// Whether the two are the same state, pending proposals included.
    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        match other.cast::<PublicGroup>() {
            Ok(other) => {
                let other = other.get();
                guarded(py, || Ok(self.resting()? == other.resting()?))
            }
            Err(_) => Ok(false),
        }
    }

    /// Verify a proposal of this epoch and add it to the pending ones (RFC 9420 section 12.1).
    #[pyo3(signature = (message, *, limits=None, policy=None))]
    fn process_proposal(
        &self,
        py: Python<'_>,
        message: &[u8],
        limits: Option<Limits>,
        policy: Option<Policy>,
    ) -> PyResult<(ProposalInfo, PublicGroup)> {
        guarded(py, || {
            self.with_proposal(message, &limits.unwrap_or_default(), &policy.unwrap_or_default())
        })
    }

    /// Verify a commit of this epoch and give the group it leads to (RFC 9420 sections 12.4.2 and 12.4.3.2).
    #[pyo3(
        signature = (message, *, group_info=None, welcomes=Vec::new(), limits=None, policy=None),
        text_signature = "($self, message, *, group_info=None, welcomes=(), limits=None, policy=None)"
    )]
    fn process_commit(
        &self,
        py: Python<'_>,
        message: &[u8],
        group_info: Option<&[u8]>,
        welcomes: Vec<PyBackedBytes>,
        limits: Option<Limits>,
        policy: Option<Policy>,
    ) -> PyResult<(CommitInfo, PublicGroup)> {
        guarded(py, || {
            let welcomes: Vec<&[u8]> = welcomes.iter().map(|message| &**message).collect();
            let bundle = Bundle {
                commit: message,
                group_info,
                welcomes: &welcomes,
            };
            self.with_commit(&bundle, &limits.unwrap_or_default(), &policy.unwrap_or_default())
        })
    }
}

impl PublicGroup {
    fn of(tracked: Tracked) -> Outcome<Self> {
        let context = tracked.group.group_context();
        Ok(PublicGroup {
            group_id: context.group_id().to_vec(),
            epoch: context.epoch().as_u64(),
            ciphersuite: context.ciphersuite().into(),
            tree_hash: context.tree_hash().to_vec(),
            confirmation_tag: tag_bytes(tracked.group.confirmation_tag())?,
            pending_proposals: Tuple(tracked.pending.clone()),
            external_senders: external_senders(&tracked)?,
            state: Mutex::new(State {
                awake: Some(tracked),
                resting: None,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn read<T>(&self, question: impl FnOnce(&Tracked) -> Outcome<T>) -> Outcome<T> {
        let mut state = self.state();
        if state.awake.is_none() {
            state.awake = Some(state.woken()?);
        }
        match &state.awake {
            Some(tracked) => question(tracked),
            None => lost(),
        }
    }

    fn resting(&self) -> Outcome<Resting> {
        let mut state = self.state();
        state.lay_down()?;
        state.resting.clone().map_or_else(lost, Ok)
    }

    /// A group of the caller's own, to be changed.
    fn take(&self) -> Outcome<Tracked> {
        let mut state = self.state();
        state.lay_down()?;
        match state.awake.take() {
            Some(tracked) => Ok(tracked),
            None => state.woken(),
        }
    }

    /// Only what was not changed.
    fn give_back(&self, tracked: Tracked) {
        self.state().awake = Some(tracked);
    }

    fn with_proposal(&self, message: &[u8], limits: &Limits, policy: &Policy) -> Outcome<(ProposalInfo, Self)> {
        let mut tracked = self.take()?;
        let examined = match tracked.examine(message, limits, policy) {
            Ok(examined) => examined,
            Err(refusal) => {
                self.give_back(tracked);
                return Err(refusal);
            }
        };
        let info = examined.info.clone();
        tracked.add(examined)?;
        Ok((info, Self::of(tracked)?))
    }

    fn with_commit(&self, bundle: &Bundle, limits: &Limits, policy: &Policy) -> Outcome<(CommitInfo, Self)> {
        let tracked = self.take()?;
        let staged = match tracked.stage(bundle, limits, policy) {
            Ok(staged) => staged,
            Err(refusal) => {
                self.give_back(tracked);
                return Err(refusal);
            }
        };
        let (info, merged) = tracked.merge(staged)?;
        Ok((info, Self::of(merged)?))
    }
}

impl State {
    fn lay_down(&mut self) -> Outcome<()> {
        if self.resting.is_none() {
            self.resting = self.awake.as_ref().map(Tracked::rest).transpose()?;
        }
        Ok(())
    }

    fn woken(&self) -> Outcome<Tracked> {
        match &self.resting {
            Some(resting) => Tracked::wake(resting),
            None => lost(),
        }
    }
}

fn lost<T>() -> Outcome<T> {
    refuse(Code::Storage, "the group's state is lost")
}

fn members(tracked: &Tracked) -> Outcome<Tuple<MemberInfo>> {
    let leaves = tracked.group.treesync().full_leaves();
    let members = leaves.map(|(leaf, node)| {
        let who = Who::of(node);
        MemberInfo {
            leaf_index: leaf.u32(),
            identity: who.identity(),
            credential_type: who.credential.credential_type().into(),
            signature_key: who.signature_key,
            encryption_key: who.encryption_key,
            lifetime: match node.leaf_node_source() {
                LeafNodeSource::KeyPackage(lifetime) => Some((lifetime.not_before(), lifetime.not_after())),
                _ => None,
            },
            proposals: node
                .capabilities()
                .proposals()
                .iter()
                .map(|kind| (*kind).into())
                .collect(),
        }
    });
    Ok(members.collect())
}

/// OpenMLS shows no part of an external sender, only its encoding: signature key, credential type, credential.
fn external_senders(tracked: &Tracked) -> Outcome<ExternalSenders> {
    let extensions = tracked.group.group_context().extensions();
    let Some(senders) = extensions.external_senders() else {
        return Ok(Tuple::default());
    };
    let read = |sender: &openmls::prelude::ExternalSender| {
        let encoded = sender.tls_serialize_detached().map_err(encoding)?;
        let mut reader = Reader::new(&encoded);
        let key = reader.vector()?.to_vec();
        let basic = reader.u16()? == 1;
        let credential = reader.vector()?.to_vec();
        Ok((basic.then_some(credential), key))
    };
    senders.iter().map(read).collect::<Outcome<Vec<_>>>().map(Tuple)
}
