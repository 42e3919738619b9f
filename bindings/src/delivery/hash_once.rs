//! A crypto provider that computes no hash twice.
//!
//! OpenMLS hashes the whole tree three times for one commit, and only the path of the committer differs between them.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use openmls::prelude::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig, HpkeKeyPair, KemOutput,
    OpenMlsCrypto, SignatureScheme,
};
use tls_codec::SecretVLBytes;

use crate::suite::crypto;

/// For one call: it keeps all that was hashed.
pub struct HashOnce(Mutex<Known>);

impl HashOnce {
    /// For a tree with so many leaves.
    pub fn new(leaves: usize) -> Self {
        HashOnce(Mutex::new(Known {
            bytes: Vec::new(),
            places: HashMap::with_capacity(2 * leaves),
        }))
    }
}

struct Known {
    /// Inputs, each followed by its hash.
    bytes: Vec<u8>,
    places: HashMap<u64, Place>,
}

struct Place {
    algorithm: HashType,
    input: Range<usize>,
    hash: Range<usize>,
}

impl Known {
    /// Only for the very same input: the mark merely says where to look.
    fn hash(&self, mark: u64, algorithm: HashType, input: &[u8]) -> Option<&[u8]> {
        let place = self.places.get(&mark)?;
        let same = place.algorithm == algorithm && self.bytes[place.input.clone()] == *input;
        same.then(|| &self.bytes[place.hash.clone()])
    }

    fn add(&mut self, mark: u64, algorithm: HashType, input: &[u8], hash: &[u8]) {
        let start = self.bytes.len();
        let middle = start + input.len();
        self.bytes.extend_from_slice(input);
        self.bytes.extend_from_slice(hash);
        let place = Place {
            algorithm,
            input: start..middle,
            hash: middle..self.bytes.len(),
        };
        self.places.insert(mark, place);
    }
}

/// Both ends of what is hashed for a node: the leaf's index is in the first, the right child's hash in the last.
///
/// None for what is hashed sooner than looked up, like blank leaves.
fn mark(input: &[u8]) -> Option<u64> {
    const LEAST: usize = 16;
    if input.len() < LEAST {
        return None;
    }
    let first = u64::from_le_bytes(*input.first_chunk()?);
    let last = u64::from_le_bytes(*input.last_chunk()?);
    Some(first ^ last.rotate_left(32))
}

macro_rules! passed_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $output:ty;)*) => {
        $(fn $name(&self, $($argument: $kind),*) -> $output { crypto().$name($($argument),*) })*
    };
}

type Crypto<T> = Result<T, CryptoError>;

impl OpenMlsCrypto for HashOnce {
    fn hash(&self, algorithm: HashType, input: &[u8]) -> Crypto<Vec<u8>> {
        let Some(mark) = mark(input) else {
            return crypto().hash(algorithm, input);
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = known.hash(mark, algorithm, input) {
            return Ok(hash.to_vec());
        }
        let hash = crypto().hash(algorithm, input)?;
        known.add(mark, algorithm, input, &hash);
        Ok(hash)
    }

    passed_on! {
        fn supports(suite: Ciphersuite) -> Crypto<()>;
        fn supported_ciphersuites() -> Vec<Ciphersuite>;
        fn hkdf_extract(hash: HashType, salt: &[u8], ikm: &[u8]) -> Crypto<SecretVLBytes>;
        fn hmac(hash: HashType, key: &[u8], message: &[u8]) -> Crypto<SecretVLBytes>;
        fn hkdf_expand(hash: HashType, prk: &[u8], info: &[u8], length: usize) -> Crypto<SecretVLBytes>;
        fn aead_encrypt(aead: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Crypto<Vec<u8>>;
        fn aead_decrypt(aead: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Crypto<Vec<u8>>;
        fn signature_key_gen(scheme: SignatureScheme) -> Crypto<(Vec<u8>, Vec<u8>)>;
        fn verify_signature(scheme: SignatureScheme, data: &[u8], key: &[u8], signature: &[u8]) -> Crypto<()>;
        fn sign(scheme: SignatureScheme, data: &[u8], key: &[u8]) -> Crypto<Vec<u8>>;
        fn hpke_seal(config: HpkeConfig, key: &[u8], info: &[u8], aad: &[u8], text: &[u8]) -> Crypto<HpkeCiphertext>;
        fn hpke_open(
            config: HpkeConfig, text: &HpkeCiphertext, key: &[u8], info: &[u8], aad: &[u8]
        ) -> Crypto<Vec<u8>>;
        fn hpke_setup_sender_and_export(
            config: HpkeConfig, key: &[u8], info: &[u8], context: &[u8], length: usize
        ) -> Crypto<(KemOutput, ExporterSecret)>;
        fn hpke_setup_receiver_and_export(
            config: HpkeConfig, enc: &[u8], key: &[u8], info: &[u8], context: &[u8], length: usize
        ) -> Crypto<ExporterSecret>;
        fn derive_hpke_keypair(config: HpkeConfig, ikm: &[u8]) -> Crypto<HpkeKeyPair>;
    }
}
