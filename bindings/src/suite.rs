//! Which ciphersuites there are, and the one crypto provider.
use std::sync::OnceLock;

use openmls::prelude::{Ciphersuite, OpenMlsCrypto};
use openmls_rust_crypto::RustCrypto;

use crate::error::{refusal, Code, Outcome};

pub fn crypto() -> &'static RustCrypto {
    static CRYPTO: OnceLock<RustCrypto> = OnceLock::new();
    CRYPTO.get_or_init(RustCrypto::default)
}

pub fn supported(number: u16) -> Outcome<Ciphersuite> {
    Ciphersuite::try_from(number)
        .ok()
        .filter(|suite| crypto().supports(*suite).is_ok())
        .ok_or_else(|| refusal(Code::UnsupportedCiphersuite, format!("ciphersuite {number}")))
}
