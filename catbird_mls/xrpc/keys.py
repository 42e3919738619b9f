"""The key with which an account signs, out of its DID document."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import base58
import coincurve
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from catbird_mls.xrpc.tokens import ES256, ES256K, decode_base64url

Verifier = Callable[[bytes, bytes], bool]

FRAGMENT = "#atproto"
# Of the multicodec table, as varints: a compressed P-256 and secp256k1 public key.
PREFIXES = {ES256: bytes([0x80, 0x24]), ES256K: bytes([0xE7, 0x01])}
LEGACY_TYPES = {"EcdsaSecp256r1VerificationKey2019": ES256, "EcdsaSecp256k1VerificationKey2019": ES256K}
JWK_CURVES = {"P-256": ES256, "secp256k1": ES256K}
ORDERS = {
    ES256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ES256K: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}
COORDINATE_BYTES = 32
SIGNATURE_BYTES = 2 * COORDINATE_BYTES
MULTIKEY_MAX_LENGTH = 100


class SigningKey:
    """A public key of one curve; ValueError when the point is not on it."""

    def __init__(self, algorithm: str, point: bytes) -> None:
        _require_encoding(point)
        self.algorithm = algorithm
        self.point = point
        self._half_order = ORDERS[algorithm] // 2
        self._verify: Verifier = _VERIFIERS[algorithm](point)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SigningKey) and (self.algorithm, self.point) == (other.algorithm, other.point)

    def __hash__(self) -> int:
        return hash((self.algorithm, self.point))

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether it made these 64 bytes; of the two signatures that fit, only the one with the lower S counts."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        r, s = int.from_bytes(signature[:COORDINATE_BYTES]), int.from_bytes(signature[COORDINATE_BYTES:])
        if r == 0 or not 0 < s <= self._half_order:
            return False
        return self._verify(encode_dss_signature(r, s), signed)

    def text(self) -> str:
        """As ``parse_text`` reads it."""
        return f"{self.algorithm} {self.point.hex()}"


def parse_text(text: str) -> SigningKey:
    algorithm, _, point = text.partition(" ")
    if algorithm not in PREFIXES:
        raise ValueError("not an algorithm")
    return SigningKey(algorithm, bytes.fromhex(point))


def signing_key(document: Any, did: str) -> SigningKey:
    """The key of the first method named ``#atproto``; ValueError when the document is another's or has none."""
    if not isinstance(document, Mapping) or document.get("id") != did:
        raise ValueError("not the document of this DID")
    for method in _methods(document):
        if method.get("id") in {FRAGMENT, did + FRAGMENT}:
            return _key(method)
    raise ValueError("no signing key")


def _methods(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    methods = document.get("verificationMethod")
    if isinstance(methods, list):
        yield from (method for method in methods if isinstance(method, Mapping))


def _key(method: Mapping[str, Any]) -> SigningKey:
    kind = method.get("type")
    if kind == "Multikey":
        return _multikey(_multibase(method))
    if kind in LEGACY_TYPES:
        return SigningKey(LEGACY_TYPES[str(kind)], _multibase(method))
    if isinstance(jwk := method.get("publicKeyJwk"), Mapping):
        return _jwk(jwk)
    raise ValueError("a key of an unknown type")


def _multikey(data: bytes) -> SigningKey:
    for algorithm, prefix in PREFIXES.items():
        if data.startswith(prefix):
            return SigningKey(algorithm, data.removeprefix(prefix))
    raise ValueError("a key of an unknown curve")


def _multibase(method: Mapping[str, Any]) -> bytes:
    text = method.get("publicKeyMultibase")
    if not isinstance(text, str) or not text.startswith("z") or len(text) > MULTIKEY_MAX_LENGTH:
        raise ValueError("not base58btc")
    return base58.b58decode(text[1:])


def _jwk(jwk: Mapping[str, Any]) -> SigningKey:
    x, y = (decode_base64url(str(jwk.get(name, ""))) for name in ("x", "y"))
    if jwk.get("kty") != "EC" or jwk.get("crv") not in JWK_CURVES or len(x) != len(y):
        raise ValueError("a key of an unknown curve")
    return SigningKey(JWK_CURVES[str(jwk["crv"])], b"\x04" + x + y)


def _require_encoding(point: bytes) -> None:
    """Compressed or whole (SEC 1, section 2.3.3): libraries also take forms that nobody should publish."""
    if (len(point), point[:1]) not in {(33, b"\x02"), (33, b"\x03"), (65, b"\x04")}:
        raise ValueError("not an encoded point")


def _p256(point: bytes) -> Verifier:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)

    def verify(signature: bytes, signed: bytes) -> bool:
        try:
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    return verify


def _k256(point: bytes) -> Verifier:
    # What verifies the other curve takes ten times as long for this one.
    return coincurve.PublicKey(point).verify


_VERIFIERS: Mapping[str, Callable[[bytes], Verifier]] = {ES256: _p256, ES256K: _k256}
