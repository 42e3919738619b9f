use std::time::{SystemTime, UNIX_EPOCH};

use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{Capabilities, KeyPackage, KeyPackageIn, LeafNode, ProtocolVersion};
use pyo3::prelude::*;

use crate::delivery::limits::Limits;
use crate::delivery::reader::{version, Reader};
use crate::error::{refuse, Code, Outcome};
use crate::guard::guarded;
use crate::openmls_error::{self, decoding, library};
use crate::suite::crypto;
use crate::values::{Tuple, Who};

/// A valid KeyPackage (RFC 9420 section 10).
#[pyclass(frozen, get_all, module = "openmls.delivery")]
pub struct KeyPackageInfo {
    reference: Vec<u8>,
    raw: Vec<u8>,
    ciphersuite: u16,
    credential_type: u16,
    identity: Option<Vec<u8>>,
    signature_key: Vec<u8>,
    init_key: Vec<u8>,
    encryption_key: Vec<u8>,
    not_before: u64,
    not_after: u64,
    last_resort: bool,
    ciphersuites: Tuple<u16>,
    extensions: Tuple<u16>,
    proposals: Tuple<u16>,
    credentials: Tuple<u16>,
}

/// Validate a KeyPackage, raw or in an MLSMessage (RFC 9420 section 10.1).
#[pyfunction]
#[pyo3(signature = (data, *, limits=None))]
pub fn key_package(py: Python<'_>, data: &[u8], limits: Option<Limits>) -> PyResult<KeyPackageInfo> {
    guarded(py, || {
        let raw = unwrap(data)?;
        info(raw, &validated(raw, &limits.unwrap_or_default())?)
    })
}

/// The KeyPackage without an MLSMessage header.
///
/// A raw one of suite 5 begins like a header too; what follows then is a key's length and not version 1.
pub fn unwrap(data: &[u8]) -> Outcome<&[u8]> {
    match data {
        [0, 1, 0, 5, 0, 1, ..] => Ok(&data[4..]),
        [0, 1, 0, 1..=4, 0, 1, ..] => refuse(Code::WrongType, "not a KeyPackage"),
        _ => Ok(data),
    }
}

pub fn validated(raw: &[u8], limits: &Limits) -> Outcome<KeyPackage> {
    limits.require_message_size(raw)?;
    let mut reader = Reader::new(raw);
    version(&mut reader)?;
    limits.require_ciphersuite(reader.u16()?)?;
    let unverified = KeyPackageIn::tls_deserialize_exact(raw).map_err(decoding("KeyPackage"))?;
    let package = unverified
        .validate(crypto(), ProtocolVersion::Mls10)
        .map_err(openmls_error::key_package)?;
    require_acceptable(&package, limits)?;
    Ok(package)
}

/// What RFC 9420 section 10.1 asks for and OpenMLS leaves to the application.
pub fn require_acceptable(package: &KeyPackage, limits: &Limits) -> Outcome<()> {
    let latest = now().saturating_add(limits.max_lifetime_seconds);
    if package.life_time().not_after() > latest {
        return refuse(Code::KeyPackageLifetimeTooLong, "it ends too far in the future");
    }
    let leaf = package.leaf_node();
    let lacking = |what: &str| {
        refuse(
            Code::KeyPackageCapabilities,
            format!("its {what} is not among its capabilities"),
        )
    };
    if !leaf.capabilities().versions().contains(&ProtocolVersion::Mls10) {
        return lacking("protocol version");
    }
    let suite = u16::from(package.ciphersuite());
    if !leaf
        .capabilities()
        .ciphersuites()
        .iter()
        .any(|listed| listed.value() == suite)
    {
        return lacking("ciphersuite");
    }
    if !leaf
        .capabilities()
        .credentials()
        .contains(&leaf.credential().credential_type())
    {
        return lacking("credential type");
    }
    if !lists_own_extensions(leaf, leaf.capabilities()) {
        return lacking("leaf extension");
    }
    Ok(())
}

/// Types up to 5 are understood by everybody and need not be listed (RFC 9420 section 7.2).
fn lists_own_extensions(leaf: &LeafNode, capabilities: &Capabilities) -> bool {
    let mut types = leaf.extensions().iter().map(|extension| extension.extension_type());
    types.all(|kind| u16::from(kind) <= 5 || capabilities.extensions().contains(&kind))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

pub fn reference(package: &KeyPackage) -> Outcome<Vec<u8>> {
    let reference = package.hash_ref(crypto()).map_err(library)?;
    Ok(reference.as_slice().to_vec())
}

fn info(raw: &[u8], package: &KeyPackage) -> Outcome<KeyPackageInfo> {
    let who = Who::of(package.leaf_node());
    let capabilities = package.leaf_node().capabilities();
    Ok(KeyPackageInfo {
        reference: reference(package)?,
        raw: raw.to_vec(),
        ciphersuite: package.ciphersuite().into(),
        credential_type: who.credential.credential_type().into(),
        identity: who.identity(),
        signature_key: who.signature_key,
        init_key: package.hpke_init_key().as_slice().to_vec(),
        encryption_key: who.encryption_key,
        not_before: package.life_time().not_before(),
        not_after: package.life_time().not_after(),
        last_resort: package.last_resort(),
        ciphersuites: capabilities
            .ciphersuites()
            .iter()
            .map(|listed| listed.value())
            .collect(),
        extensions: capabilities.extensions().iter().map(|kind| (*kind).into()).collect(),
        proposals: capabilities.proposals().iter().map(|kind| (*kind).into()).collect(),
        credentials: capabilities.credentials().iter().map(|kind| (*kind).into()).collect(),
    })
}
