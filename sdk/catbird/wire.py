import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

SUITES = {
    1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
    2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
    3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
}

_BASIC = b"\0\1"
_NO_SUCH_LENGTH = 3
_STANDARD_ALPHABET = str.maketrans("-_", "+/")


class BadAnswer(ValueError):
    """The server's answer does not have the shape its lexicon promises."""


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def decode(value: object) -> bytes:
    """Bytes of a plain base64 string or of ``{"$bytes": ...}``, in either alphabet, padded or not."""
    text = value.get("$bytes") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise BadAnswer("a base64 string is missing")
    compact = "".join(text.split()).rstrip("=").translate(_STANDARD_ALPHABET)
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except ValueError:
        raise BadAnswer("a base64 string is malformed") from None


def as_bytes(data: bytes) -> dict[str, str]:
    """The lexicon type ``bytes``."""
    return {"$bytes": encode(data)}


def basic_identity(credential: bytes) -> bytes:
    """The identity in an encoded basic credential (RFC 9420 section 5.3)."""
    kind, rest = credential[:2], credential[2:]
    if kind != _BASIC or not rest or rest[0] >> 6 == _NO_SUCH_LENGTH:
        raise BadAnswer("a basic credential is expected")
    # A vector's length (section 2.1.2): the first two bits say how many bytes it takes.
    width = 1 << (rest[0] >> 6)
    length = int.from_bytes(rest[:width], "big") & ~(0b11 << (8 * width - 2))
    identity = rest[width:]
    if len(rest) < width or len(identity) != length:
        raise BadAnswer("a credential is cut off or too long")
    return identity


@dataclass(frozen=True)
class Entry:
    """One place in a convo's log, as ``messageView`` shows it."""

    id: str
    convo_id: str
    seq: int
    epoch: int
    kind: str
    data: bytes
    created_at: str


def entry(view: Json) -> Entry:
    """An entry from its view; of a commit, ``epoch`` is the one it leads to."""
    try:
        return Entry(
            id=str(view["id"]),
            convo_id=str(view["convoId"]),
            seq=int(view["seq"]),
            epoch=int(view["epoch"]),
            kind=str(view.get("messageType", "app")),
            data=decode(view["ciphertext"]),
            created_at=str(view["createdAt"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswer(f"a messageView cannot be read: {error!r}") from None
