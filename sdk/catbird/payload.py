"""What a message says, and the padding that hides how long it is."""

import json
import struct
from typing import Any

BUCKETS = (512, 1024, 2048, 4096)
LARGE_BUCKET = 8192
_LENGTH = struct.Struct(">I")


class BadPayload(ValueError):
    """A decrypted body that is not a padded JSON payload."""


def bucket(size: int) -> int:
    """The smallest size that may be shown for a body of ``size`` bytes with its length field."""
    for candidate in BUCKETS:
        if size <= candidate:
            return candidate
    return -(-size // LARGE_BUCKET) * LARGE_BUCKET


def pad(body: bytes) -> bytes:
    used = _LENGTH.size + len(body)
    return _LENGTH.pack(len(body)) + body + bytes(bucket(used) - used)


def unpad(padded: bytes) -> bytes:
    if len(padded) < _LENGTH.size:
        raise BadPayload("the body is shorter than its length field")
    (length,) = _LENGTH.unpack_from(padded)
    body = padded[_LENGTH.size : _LENGTH.size + length]
    if len(body) != length:
        raise BadPayload("the body is shorter than its length field says")
    return body


def text_payload(text: str) -> bytes:
    payload = {"version": 1, "messageType": "text", "text": text}
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def read_payload(padded: bytes) -> dict[str, Any]:
    """The JSON object inside a decrypted body, of any ``messageType``: readers skip what they do not know."""
    try:
        payload = json.loads(unpad(padded))
    except ValueError as error:
        raise BadPayload(f"the body is no JSON: {error}") from None
    if not isinstance(payload, dict):
        raise BadPayload("the body is no JSON object")
    return payload
