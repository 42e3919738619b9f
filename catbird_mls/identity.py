"""Who this server is, for those who resolve its DID."""

import base58
from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse

from conversations.framing import external_sender_keys

SERVICE = "#atproto_mls"
SENDER = "#mls_external_sender"
# Multikey prefixes of the multicodec table: an Ed25519 and a P-256 public key.
ED25519_PREFIX = bytes([0xED, 0x01])
P256_PREFIX = bytes([0x80, 0x24])


def did_document(request: HttpRequest) -> JsonResponse:
    """The DID document of a ``did:web``: where the service is, and the keys it proposes removals with."""
    host = settings.SERVICE_DID.removeprefix("did:web:")
    if host == settings.SERVICE_DID:
        raise Http404
    document = {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": settings.SERVICE_DID,
        "verificationMethod": _methods(),
        "service": [
            {"id": SERVICE, "type": "AtprotoMlsService", "serviceEndpoint": f"https://{host.replace('%3A', ':')}"}
        ],
    }
    return JsonResponse(document)


def _methods() -> list[dict[str, str]]:
    keys = external_sender_keys()
    return (
        [] if keys is None else [_method(SENDER, ED25519_PREFIX + keys[0]), _method(f"{SENDER}_p256", _p256(keys[1]))]
    )


def _method(fragment: str, key: bytes) -> dict[str, str]:
    return {
        "id": settings.SERVICE_DID + fragment,
        "type": "Multikey",
        "controller": settings.SERVICE_DID,
        "publicKeyMultibase": "z" + base58.b58encode(key).decode(),
    }


def _p256(point: bytes) -> bytes:
    """A Multikey holds the compressed point (SEC 1, section 2.3.3): the parity of y, and x."""
    return P256_PREFIX + bytes([2 + (point[-1] & 1)]) + point[1:33]
