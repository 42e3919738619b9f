use openmls::prelude::{OpenMlsCrypto, SignatureScheme};
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
