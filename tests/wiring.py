"""How devices' values look on the wire."""

import base64
from datetime import datetime
from typing import Any

from tests.devices import SUITE, Phone, in_days


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wire_bytes(data: bytes) -> dict[str, str]:
    return {"$bytes": b64(data)}


def moment(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def package_item(package: bytes, **changes: Any) -> dict[str, Any]:
    return {"keyPackage": b64(package), "cipherSuite": SUITE, "expires": moment(in_days(30))} | changes


def registration(phone: Phone, *, packages: int = 1, **changes: Any) -> dict[str, Any]:
    """The input of registerDevice for a phone."""
    return {
        "deviceName": phone.name,
        "deviceUUID": phone.uuid,
        "keyPackages": [package_item(package) for package in phone.packages(packages)],
        "signaturePublicKey": wire_bytes(phone.signature_key),
    } | changes
