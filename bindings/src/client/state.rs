//! One device: its keys, its storage, its groups; and all of it as bytes.
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};

use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, GroupId, HashType, MlsGroup, OpenMlsCrypto, OpenMlsProvider,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use serde::{Deserialize, Serialize};

use crate::delivery::store::{encode, storage_refusal};
use crate::error::{refusal, refuse, Code, Outcome};
use crate::key_pair::KeyPair;
use crate::openmls_error::library;
use crate::suite::{crypto, supported};

type Stored = HashMap<Vec<u8>, Vec<u8>>;

pub struct Device {
    pub provider: OpenMlsRustCrypto,
    pub identity: Vec<u8>,
    pub suite: Ciphersuite,
    pub signer: Arc<KeyPair>,
    pub groups: BTreeMap<Vec<u8>, Membership>,
}

/// A group, and what OpenMLS does not keep of it.
pub struct Membership {
    pub group: MlsGroup,
    pub signer: Arc<KeyPair>,
    /// Takes the signer's place when the commit that announces it is confirmed.
    pub next_signer: Option<Arc<KeyPair>>,
    /// The last commit made here, to know it when it comes back.
    pub sent_commit: Option<Vec<u8>>,
}

impl Membership {
    pub fn new(group: MlsGroup, signer: Arc<KeyPair>) -> Self {
        Membership {
            group,
            signer,
            next_signer: None,
            sent_commit: None,
        }
    }

    pub fn require_active(&self) -> Outcome<()> {
        match self.group.is_active() {
            true => Ok(()),
            false => refuse(Code::GroupInactive, "this client is no member any more"),
        }
    }

    pub fn require_no_commit(&self) -> Outcome<()> {
        match self.group.pending_commit() {
            None => Ok(()),
            Some(_) => refuse(
                Code::PendingCommit,
                "the last commit is neither confirmed nor discarded",
            ),
        }
    }
}

impl Device {
    pub fn new(identity: &[u8], ciphersuite: u16, signer: Option<Arc<KeyPair>>) -> Outcome<Self> {
        let suite = supported(ciphersuite)?;
        let signer = match signer {
            Some(signer) => signer,
            None => KeyPair::generate(ciphersuite)?.into(),
        };
        require_scheme(&signer, suite)?;
        Ok(Device {
            provider: OpenMlsRustCrypto::default(),
            identity: identity.to_vec(),
            suite,
            signer,
            groups: BTreeMap::new(),
        })
    }

    pub fn credential(&self, signer: &KeyPair) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.identity.clone()).into(),
            signature_key: signer.public().into(),
        }
    }

    pub fn membership(&self, group_id: &[u8]) -> Outcome<&Membership> {
        let found = self.groups.get(group_id);
        found.ok_or_else(|| refusal(Code::NoGroup, "this client has no such group"))
    }

    /// Do something to one group that, when it is refused, has changed nothing.
    pub fn with<T>(
        &mut self,
        group_id: &[u8],
        work: impl FnOnce(&mut Membership, &OpenMlsRustCrypto) -> Outcome<T>,
    ) -> Outcome<T> {
        self.membership(group_id)?.require_active()?;
        match self.groups.get_mut(group_id) {
            Some(membership) => work(membership, &self.provider),
            None => refuse(Code::NoGroup, "this client has no such group"),
        }
    }

    /// Do something to one group; when it is refused, storage and group are put back as before.
    pub fn change<T>(
        &mut self,
        group_id: &[u8],
        work: impl FnOnce(&mut Membership, &OpenMlsRustCrypto) -> Outcome<T>,
    ) -> Outcome<T> {
        self.membership(group_id)?.require_active()?;
        self.attempt(|device| device.with(group_id, work))
            .inspect_err(|_| self.reload(group_id))
    }

    /// OpenMLS writes as it goes: a Welcome that turns out invalid has already cost the key package.
    pub fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        let before = self.stored()?.clone();
        let outcome = work(self);
        if outcome.is_err() {
            *self.stored_mut()? = before;
        }
        outcome
    }

    fn reload(&mut self, group_id: &[u8]) {
        let stored = MlsGroup::load(self.provider.storage(), &GroupId::from_slice(group_id));
        if let (Ok(Some(group)), Some(membership)) = (stored, self.groups.get_mut(group_id)) {
            membership.group = group;
        }
    }

    fn stored(&self) -> Outcome<RwLockReadGuard<'_, Stored>> {
        self.provider.storage().values.read().map_err(library)
    }

    fn stored_mut(&self) -> Outcome<RwLockWriteGuard<'_, Stored>> {
        self.provider.storage().values.write().map_err(library)
    }
}

pub fn require_scheme(signer: &KeyPair, suite: Ciphersuite) -> Outcome<()> {
    if signer.scheme() != suite.signature_algorithm() {
        return refuse(Code::WrongSigner, "a key of another signature scheme than the suite's");
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Kept {
    ciphersuite: u16,
    identity: Vec<u8>,
    signer: Vec<u8>,
    storage: BTreeMap<Vec<u8>, Vec<u8>>,
    groups: Vec<KeptGroup>,
}

#[derive(Serialize, Deserialize)]
struct KeptGroup {
    group_id: Vec<u8>,
    signer: Vec<u8>,
    next_signer: Option<Vec<u8>>,
    sent_commit: Option<Vec<u8>>,
}

/// Format 1, followed by a digest of the rest: OpenMLS trusts its storage and panics on what it cannot read.
const MAGIC: &[u8] = b"openmls-py client 1\n";
const DIGEST_BYTES: usize = 32;

impl Device {
    pub fn save(&self) -> Outcome<Vec<u8>> {
        let kept = Kept {
            ciphersuite: self.suite.into(),
            identity: self.identity.clone(),
            signer: self.signer.export()?,
            storage: self.stored()?.clone().into_iter().collect(),
            groups: self.groups.iter().map(keep).collect::<Outcome<_>>()?,
        };
        let body = encode(&kept).map_err(storage_refusal)?;
        let digest = crypto().hash(HashType::Sha2_256, &body).map_err(library)?;
        Ok([MAGIC, &digest, &body].concat())
    }

    pub fn load(state: &[u8]) -> Outcome<Self> {
        let bad = || refusal(Code::StateBadClient, "not the state of a client, or damaged");
        let rest = state.strip_prefix(MAGIC).ok_or_else(bad)?;
        let (digest, body) = rest.split_at_checked(DIGEST_BYTES).ok_or_else(bad)?;
        if crypto().hash(HashType::Sha2_256, body).map_err(library)? != digest {
            return Err(bad());
        }
        let kept: Kept = postcard::from_bytes(body).map_err(|_| bad())?;
        let signer = KeyPair::load(&kept.signer)?.into();
        let mut device = Device::new(&kept.identity, kept.ciphersuite, Some(signer))?;
        device.stored_mut()?.extend(kept.storage);
        for group in kept.groups {
            let stored = MlsGroup::load(device.provider.storage(), &GroupId::from_slice(&group.group_id));
            let membership = Membership {
                group: stored.ok().flatten().ok_or_else(bad)?,
                signer: KeyPair::load(&group.signer)?.into(),
                next_signer: group
                    .next_signer
                    .map(|key| KeyPair::load(&key))
                    .transpose()?
                    .map(Arc::new),
                sent_commit: group.sent_commit,
            };
            device.groups.insert(group.group_id, membership);
        }
        Ok(device)
    }
}

fn keep((group_id, membership): (&Vec<u8>, &Membership)) -> Outcome<KeptGroup> {
    Ok(KeptGroup {
        group_id: group_id.clone(),
        signer: membership.signer.export()?,
        next_signer: membership.next_signer.as_ref().map(|key| key.export()).transpose()?,
        sent_commit: membership.sent_commit.clone(),
    })
}
