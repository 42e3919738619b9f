use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{OpenMlsSignaturePublicKey, Verifiable};
use pyo3::prelude::*;

use crate::delivery::limits::Limits;
use crate::delivery::peek::{wire_format, WireFormat};
use crate::delivery::reader::{version, Reader};
use crate::delivery::tree;
use crate::error::{refusal, refuse, Code, Outcome};
use crate::guard::guarded;
use crate::openmls_error::decoding;
use crate::suite::crypto;
use crate::values::Tuple;

const RATCHET_TREE: u16 = 2;
const EXTERNAL_PUB: u16 = 4;

/// A GroupInfo (RFC 9420 section 12.4.3).
#[pyclass(frozen, get_all, module = "openmls.delivery")]
pub struct GroupInfoView {
    group_id: Vec<u8>,
    epoch: u64,
    ciphersuite: u16,
    tree_hash: Vec<u8>,
    confirmed_transcript_hash: Vec<u8>,
    group_context: Vec<u8>,
    confirmation_tag: Vec<u8>,
    signer: u32,
    has_ratchet_tree: bool,
    ratchet_tree: Option<Vec<u8>>,
    external_pub: Option<Vec<u8>>,
    extension_types: Tuple<u16>,
}

/// Read a GroupInfo in an MLSMessage without verifying it.
#[pyfunction]
#[pyo3(signature = (data, *, limits=None))]
pub fn group_info(py: Python<'_>, data: &[u8], limits: Option<Limits>) -> PyResult<GroupInfoView> {
    guarded(py, || Ok(parse(data, &limits.unwrap_or_default())?.0.view()))
}

/// Read a GroupInfo in an MLSMessage and verify its signature under ``signature_key``.
#[pyfunction]
#[pyo3(signature = (data, signature_key, *, limits=None))]
pub fn verify_group_info(
    py: Python<'_>,
    data: &[u8],
    signature_key: &[u8],
    limits: Option<Limits>,
) -> PyResult<GroupInfoView> {
    guarded(py, || {
        let (fields, unverified) = parse(data, &limits.unwrap_or_default())?;
        verify(unverified, signature_key)?;
        Ok(fields.view())
    })
}

/// What OpenMLS keeps to itself of a GroupInfo, read from the encoding.
pub struct Fields<'a> {
    pub ciphersuite: u16,
    pub group_id: &'a [u8],
    pub epoch: u64,
    pub tree_hash: &'a [u8],
    pub confirmed_transcript_hash: &'a [u8],
    pub group_context: &'a [u8],
    pub extension_types: Vec<u16>,
    pub ratchet_tree: Option<&'a [u8]>,
    pub external_pub: Option<&'a [u8]>,
    pub confirmation_tag: &'a [u8],
    pub signer: u32,
}

impl<'a> Fields<'a> {
    /// Of a GroupInfo that ends where the input ends.
    pub fn read(reader: &mut Reader<'a>) -> Outcome<Self> {
        let start = reader.clone();
        version(reader)?;
        let ciphersuite = reader.u16()?;
        let group_id = reader.vector()?;
        let epoch = reader.u64()?;
        let tree_hash = reader.vector()?;
        let confirmed_transcript_hash = reader.vector()?;
        reader.vector()?; // extensions of the context
        let group_context = reader.since(&start);
        let extensions = Extensions::read(reader.vector()?)?;
        let confirmation_tag = reader.vector()?;
        let signer = reader.u32()?;
        reader.vector()?; // signature
        reader.end()?;
        Ok(Fields {
            ciphersuite,
            group_id,
            epoch,
            tree_hash,
            confirmed_transcript_hash,
            group_context,
            extension_types: extensions.types,
            ratchet_tree: extensions.ratchet_tree,
            external_pub: extensions.external_pub,
            confirmation_tag,
            signer,
        })
    }

    fn view(&self) -> GroupInfoView {
        GroupInfoView {
            group_id: self.group_id.to_vec(),
            epoch: self.epoch,
            ciphersuite: self.ciphersuite,
            tree_hash: self.tree_hash.to_vec(),
            confirmed_transcript_hash: self.confirmed_transcript_hash.to_vec(),
            group_context: self.group_context.to_vec(),
            confirmation_tag: self.confirmation_tag.to_vec(),
            signer: self.signer,
            has_ratchet_tree: self.ratchet_tree.is_some(),
            ratchet_tree: self.ratchet_tree.map(<[u8]>::to_vec),
            external_pub: self.external_pub.map(<[u8]>::to_vec),
            extension_types: Tuple(self.extension_types.clone()),
        }
    }

    /// Without it, nobody can join by an external commit.
    pub fn require_external_pub(&self) -> Outcome<()> {
        match self.external_pub {
            Some(_) => Ok(()),
            None => refuse(Code::GroupInfoMissingExternalPub, "no external_pub extension"),
        }
    }
}

#[derive(Default)]
struct Extensions<'a> {
    types: Vec<u16>,
    ratchet_tree: Option<&'a [u8]>,
    external_pub: Option<&'a [u8]>,
}

impl<'a> Extensions<'a> {
    fn read(encoded: &'a [u8]) -> Outcome<Self> {
        let mut reader = Reader::new(encoded);
        let mut found = Extensions::default();
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let data = reader.vector()?;
            // Only the last of two trees would be counted.
            if found.types.contains(&kind) {
                return refuse(Code::Malformed, format!("extension {kind} twice"));
            }
            found.types.push(kind);
            match kind {
                RATCHET_TREE => found.ratchet_tree = Some(data),
                EXTERNAL_PUB => found.external_pub = Some(external_pub(data)?),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn external_pub(data: &[u8]) -> Outcome<&[u8]> {
    let mut reader = Reader::new(data);
    let key = reader.vector();
    key.and_then(|key| reader.end().map(|()| key))
        .map_err(|_| refusal(Code::GroupInfoMalformedExternalPub, "not a key"))
}

/// Checks sizes and the tree inside before OpenMLS decodes anything.
pub fn parse<'a>(data: &'a [u8], limits: &Limits) -> Outcome<(Fields<'a>, VerifiableGroupInfo)> {
    limits.require_tree_message_size(data)?;
    let mut reader = Reader::new(data);
    if wire_format(&mut reader)? != WireFormat::GroupInfo {
        return refuse(Code::WrongType, "not a GroupInfo");
    }
    let body = reader.clone();
    let fields = Fields::read(&mut reader)?;
    limits.require_ciphersuite(fields.ciphersuite)?;
    require_key_length(&fields)?;
    if let Some(encoded) = fields.ratchet_tree {
        tree::require_size(encoded, limits)?;
    }
    let body = reader.since(&body);
    let unverified = VerifiableGroupInfo::tls_deserialize_exact(body).map_err(decoding("GroupInfo"))?;
    Ok((fields, unverified))
}

/// The KEM of suite 2 is over P-256, that of suites 1 and 3 over X25519 (RFC 9180 section 7.1).
fn require_key_length(fields: &Fields) -> Outcome<()> {
    let length = if fields.ciphersuite == 2 { 65 } else { 32 };
    match fields.external_pub {
        Some(key) if key.len() != length => refuse(
            Code::GroupInfoMalformedExternalPub,
            format!("a key of {} bytes", key.len()),
        ),
        _ => Ok(()),
    }
}

pub fn verify(unverified: VerifiableGroupInfo, signature_key: &[u8]) -> Outcome<()> {
    let scheme = unverified.ciphersuite().signature_algorithm();
    let key = OpenMlsSignaturePublicKey::from_signature_key(signature_key.into(), scheme);
    unverified
        .verify(crypto(), &key)
        .map(|_| ())
        .map_err(|_| refusal(Code::GroupInfoBadSignature, "not signed with this key"))
}
