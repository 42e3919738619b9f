//! What every client of this package is able to do, and how its groups are set up.
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, CredentialType, Extension, ExtensionType, Extensions, ExternalSender,
    GroupContext, MlsGroupCreateConfig, MlsGroupJoinConfig, OpenMlsCrypto, ProposalType, ProtocolVersion,
    SenderRatchetConfiguration, WireFormatPolicy, MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY,
    MIXED_PLAINTEXT_WIRE_FORMAT_POLICY,
};

use crate::delivery::limits::Limits;
use crate::error::Outcome;
use crate::openmls_error::library;
use crate::suite::crypto;

/// Application messages may arrive after the commit that ended their epoch.
const MAX_PAST_EPOCHS: usize = 5;
const MAX_OUT_OF_ORDER: u32 = 100;
const MAX_SKIPPED: u32 = 1000;
const MAX_MEMBERS: usize = 16384;
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// What a client takes from the world. Lifetimes are for the delivery service to judge.
pub fn limits() -> Limits {
    Limits {
        max_message_bytes: MAX_BYTES,
        max_tree_bytes: MAX_BYTES,
        max_members: MAX_MEMBERS,
        max_lifetime_seconds: u64::MAX,
        ..Limits::default()
    }
}

pub fn capabilities() -> Capabilities {
    let suites: Vec<Ciphersuite> = crypto().supported_ciphersuites();
    let usual = limits().ciphersuites;
    let known = suites.into_iter().filter(|suite| usual.0.contains(&u16::from(*suite)));
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(known.collect())
        .extensions(vec![ExtensionType::LastResort])
        .proposals(vec![ProposalType::SelfRemove])
        .credentials(vec![CredentialType::Basic])
        .build()
}

fn wire_format(private_handshake: bool) -> WireFormatPolicy {
    match private_handshake {
        true => MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY,
        false => MIXED_PLAINTEXT_WIRE_FORMAT_POLICY,
    }
}

fn ratchet() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(MAX_OUT_OF_ORDER, MAX_SKIPPED)
}

pub fn join(private_handshake: bool) -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(wire_format(private_handshake))
        .max_past_epochs(MAX_PAST_EPOCHS)
        .sender_ratchet_configuration(ratchet())
        .build()
}

pub fn create(
    suite: Ciphersuite,
    external_senders: Vec<(Vec<u8>, Vec<u8>)>,
    private_handshake: bool,
) -> Outcome<MlsGroupCreateConfig> {
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(suite)
        .wire_format_policy(wire_format(private_handshake))
        .max_past_epochs(MAX_PAST_EPOCHS)
        .sender_ratchet_configuration(ratchet())
        .capabilities(capabilities());
    Ok(config.with_group_context_extensions(listing(external_senders)?).build())
}

pub fn listing(external_senders: Vec<(Vec<u8>, Vec<u8>)>) -> Outcome<Extensions<GroupContext>> {
    if external_senders.is_empty() {
        return Ok(Extensions::empty());
    }
    let senders = external_senders
        .into_iter()
        .map(|(identity, key)| ExternalSender::new(key.into(), BasicCredential::new(identity).into()))
        .collect();
    Extensions::single(Extension::ExternalSenders(senders)).map_err(library)
}
