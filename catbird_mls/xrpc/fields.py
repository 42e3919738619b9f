"""Serializer fields for the wire's own types: tolerant on input, strict on output."""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.errors import InvalidCursor, InvalidRequest, XrpcError

DID_MAX_LENGTH = 255
# The lexicon's ``did``: method, then a method-specific id that does not end in a colon or percent sign.
DID_PATTERN = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]{0,240}[a-zA-Z0-9._-]")
CURSOR_PATTERN = re.compile(r"[0-9]{1,19}")
_SPACE = re.compile(rb"\s+")


def decode_base64(text: str) -> bytes:
    """Bytes of a base64 text of either alphabet, padded or not, with or without white space."""
    raw = _SPACE.sub(b"", text.encode("ascii", "strict")).rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)


def quick_bytes(value: Any) -> bytes | None:
    """Bytes in the lexicon's own form, standard and padded; None leaves them to ``BytesField``."""
    text = value.get("$bytes") if isinstance(value, dict) else value
    if not isinstance(text, str) or not text:
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wire_bytes(data: bytes) -> dict[str, str]:
    """The lexicon's ``bytes``."""
    return {"$bytes": base64_text(data)}


def wire_time(moment: datetime) -> str:
    """RFC 3339 in UTC with ``Z`` and milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class DidField(serializers.CharField):
    """A bare DID; ``did#device`` is accepted and narrowed to the account. Some methods name its refusal."""

    def __init__(self, *, refusal: type[XrpcError] = InvalidRequest, **options: Any) -> None:
        super().__init__(**options)
        self.refusal = refusal

    def to_internal_value(self, data: Any) -> str:
        did = str(super().to_internal_value(data)).partition("#")[0]
        if len(did) > DID_MAX_LENGTH or not DID_PATTERN.fullmatch(did):
            raise self.refusal(f"{self.field_name or 'did'}: not a valid DID.")
        return did


class BytesField(serializers.Field[bytes, Any, Any, Any]):
    """``{"$bytes": …}`` or a plain base64 string, whichever the client's vintage sends."""

    def __init__(self, *, max_length: int, allow_empty: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.max_length = max_length
        self.allow_empty = allow_empty

    def to_internal_value(self, data: Any) -> bytes:
        text = data.get("$bytes") if isinstance(data, dict) else data
        if not isinstance(text, str):
            raise serializers.ValidationError("Expected base64 bytes.")
        try:
            value = decode_base64(text)
        except (binascii.Error, ValueError):
            raise serializers.ValidationError("Not valid base64.") from None
        if not value and not self.allow_empty:
            raise serializers.ValidationError("Must not be empty.")
        if len(value) > self.max_length:
            raise serializers.ValidationError(f"Longer than {self.max_length} bytes.")
        return value

    def to_representation(self, value: bytes) -> Any:
        return wire_bytes(value)


class CursorField(serializers.CharField):
    """A decimal string; what it counts is the method's business."""

    def to_internal_value(self, data: Any) -> str:
        cursor = str(super().to_internal_value(data))
        if not CURSOR_PATTERN.fullmatch(cursor):
            raise InvalidCursor
        return cursor


class HexField(serializers.CharField):
    """Bytes as hexadecimal text."""

    def __init__(self, *, max_bytes: int, **options: Any) -> None:
        super().__init__(max_length=max_bytes, **options)

    def to_internal_value(self, data: Any) -> Any:
        try:
            return bytes.fromhex(str(super().to_internal_value(data)))
        except ValueError:
            raise serializers.ValidationError("Not hexadecimal.") from None
