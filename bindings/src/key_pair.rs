use openmls::prelude::{HashType, OpenMlsCrypto, SignatureScheme};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::signatures::Signer as _;
use tls_codec::{DeserializeBytes as _, Serialize as _};

use crate::error::{refusal, Code, Outcome};
use crate::openmls_error::{encoding, library};
use crate::suite::{crypto, supported};

/// A signature key pair that is known to work.
pub struct KeyPair(SignatureKeyPair);

impl KeyPair {
    pub fn generate(ciphersuite: u16) -> Outcome<Self> {
        let scheme = supported(ciphersuite)?.signature_algorithm();
        SignatureKeyPair::new(scheme).map(KeyPair).map_err(library)
    }

    /// The pair that belongs to a secret: the same every time.
    pub fn derive(secret: &[u8], ciphersuite: u16) -> Outcome<Self> {
        let scheme = supported(ciphersuite)?.signature_algorithm();
        // A seed is no key of P-256 once in four billion times; the next one is.
        for attempt in 0..=u8::MAX {
            let seed = seed(secret, scheme, attempt)?;
            if let Some(public) = public_half(scheme, &seed) {
                return Ok(KeyPair(SignatureKeyPair::from_raw(scheme, seed, public)));
            }
        }
        Err(refusal(
            Code::UnsupportedCiphersuite,
            format!("ciphersuite {ciphersuite}"),
        ))
    }

    pub fn load(state: &[u8]) -> Outcome<Self> {
        let pair = SignatureKeyPair::tls_deserialize_exact_bytes(state)
            .map(KeyPair)
            .ok()
            .filter(KeyPair::works);
        pair.ok_or_else(|| refusal(Code::StateBadSigner, "not an exported key pair"))
    }

    fn works(&self) -> bool {
        let probe = b"probe";
        let Ok(signature) = self.0.sign(probe) else {
            return false;
        };
        let verdict = crypto().verify_signature(self.scheme(), probe, self.public(), &signature);
        verdict.is_ok()
    }

    pub fn export(&self) -> Outcome<Vec<u8>> {
        self.0.tls_serialize_detached().map_err(encoding)
    }

    pub fn public(&self) -> &[u8] {
        self.0.public()
    }

    pub fn scheme(&self) -> SignatureScheme {
        self.0.signature_scheme()
    }

    pub fn signer(&self) -> &SignatureKeyPair {
        &self.0
    }
}

fn seed(secret: &[u8], scheme: SignatureScheme, attempt: u8) -> Outcome<Vec<u8>> {
    let key = crypto().hkdf_extract(HashType::Sha2_256, b"external signer", secret);
    let [high, low] = (scheme as u16).to_be_bytes();
    let seed = crypto().hkdf_expand(
        HashType::Sha2_256,
        key.map_err(library)?.as_slice(),
        &[high, low, attempt],
        32,
    );
    Ok(seed.map_err(library)?.as_slice().to_vec())
}

fn public_half(scheme: SignatureScheme, seed: &[u8]) -> Option<Vec<u8>> {
    match scheme {
        SignatureScheme::ED25519 => {
            let key = ed25519_dalek::SigningKey::from_bytes(seed.try_into().ok()?);
            Some(key.verifying_key().to_bytes().to_vec())
        }
        SignatureScheme::ECDSA_SECP256R1_SHA256 => {
            let key = p256::ecdsa::SigningKey::from_slice(seed).ok()?;
            Some(key.verifying_key().to_encoded_point(false).as_bytes().to_vec())
        }
        _ => None,
    }
}
