"""What the directory may read of key packages and Welcomes; translates the binding's errors once."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from openmls import MlsError
from openmls.delivery import Limits, key_package, welcome

from keypackages.errors import InvalidCipherSuite, InvalidKeyPackage, InvalidWelcome

KEY_PACKAGE_MAX_BYTES = 64 * 1024
KEY_PACKAGE_MAX_LIFETIME_SECONDS = 400 * 86_400
WELCOME_MAX_BYTES = 2 * 1024 * 1024
BASIC_CREDENTIAL = 1

# RFC 9420 section 17.1, as far as a server can check the contents of the suite.
SUITES = {
    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519": 1,
    "MLS_128_DHKEMP256_AES128GCM_SHA256_P256": 2,
    "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519": 3,
}


@dataclass(frozen=True, slots=True)
class ReadKeyPackage:
    """A key package whose signatures, lifetime and capabilities hold (RFC 9420, section 10.1)."""

    reference: bytes
    body: bytes
    cipher_suite: str
    did: str | None
    signature_key: bytes
    expires_at: datetime
    last_resort: bool


def labelled(data: bytes) -> dict[str, Any]:
    """A package that comes without a label, with the one its own bytes give it."""
    names = {number: name for name, number in SUITES.items()}
    try:
        number = key_package(data).ciphersuite
    except MlsError as error:
        raise InvalidKeyPackage(f"{error.code}: {error.detail}") from None
    return {"key_package": data, "cipher_suite": names[number]}


def read_key_package(data: bytes, *, cipher_suite: str) -> ReadKeyPackage:
    """Validate a raw or wrapped key package whose suite must be the one its label claims."""
    if cipher_suite not in SUITES:
        raise InvalidCipherSuite(f"The cipher suite must be one of {', '.join(SUITES)}.")
    limits = Limits(max_message_bytes=KEY_PACKAGE_MAX_BYTES, max_lifetime_seconds=KEY_PACKAGE_MAX_LIFETIME_SECONDS)
    try:
        found = key_package(data, limits=limits)
    except MlsError as error:
        raise InvalidKeyPackage(f"{error.code}: {error.detail}") from None
    if found.ciphersuite != SUITES[cipher_suite]:
        raise InvalidCipherSuite("The key package is of another cipher suite than its label.")
    return ReadKeyPackage(
        reference=found.reference,
        body=found.raw,
        cipher_suite=cipher_suite,
        did=credential_did(found.identity, found.signature_key),
        signature_key=found.signature_key,
        expires_at=datetime.fromtimestamp(found.not_after, UTC),
        last_resort=found.last_resort,
    )


def credential_did(identity: bytes | None, signature_key: bytes) -> str | None:
    """The account a basic credential names, or None when it names its own key, which engines without DIDs do."""
    if identity is not None and identity == signature_key and settings.CATBIRD_ALLOW_KEY_CREDENTIALS:
        return None
    try:
        return (identity or b"").decode().partition("#")[0]
    except UnicodeDecodeError:
        return ""


def welcome_references(data: bytes) -> tuple[bytes, ...]:
    """The KeyPackageRefs a Welcome was made for (RFC 9420, section 12.4.3.1)."""
    if len(data) > WELCOME_MAX_BYTES:
        raise InvalidWelcome(f"A Welcome is at most {WELCOME_MAX_BYTES} bytes.")
    try:
        return tuple(welcome(data).references)
    except MlsError as error:
        raise InvalidWelcome(f"{error.code}: {error.detail}") from None
