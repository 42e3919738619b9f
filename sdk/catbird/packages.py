"""Key packages: making this device's own, and choosing among those that a server hands out for others."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from openmls import MlsError
from openmls.client import Client as Engine
from openmls.delivery import key_package

from catbird.wire import SUITES, BadAnswer, Json, decode, encode

TARGET = 20
LOW_WATER = 10
LIFETIME_SECONDS = 60 * 24 * 60 * 60


@dataclass(frozen=True)
class Chosen:
    """A package that will let one device in."""

    did: str
    hash: str
    data: bytes


def make(engine: Engine, count: int) -> list[Json]:
    """New packages as the wire carries them. Their keys are in the engine: keep its state before sending."""
    return [_item(data, engine.ciphersuite) for data in engine.key_packages(count, lifetime=LIFETIME_SECONDS)]


def choose(
    offered: Sequence[Json], dids: Sequence[str], present: Set[bytes]
) -> tuple[list[Chosen], list[str]]:
    """One package for each device that is not in the group yet, and the accounts without any usable package.

    The server is not trusted with who is let in: a package counts only for the account its own credential
    names. ``present`` are the signature keys of the group's leaves.
    """
    chosen: dict[bytes, Chosen] = {}
    reached: set[str] = set()
    for item in offered:
        if (found := _read(item, set(dids))) is None:
            continue
        signature_key, package = found
        reached.add(package.did)
        if signature_key not in present:
            chosen.setdefault(signature_key, package)
    return list(chosen.values()), [did for did in dids if did not in reached]


def _item(data: bytes, ciphersuite: int) -> Json:
    expires = datetime.fromtimestamp(key_package(data).not_after, UTC)
    return {
        "keyPackage": encode(data),
        "cipherSuite": SUITES[ciphersuite],
        "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _read(item: Json, dids: Set[str]) -> tuple[bytes, Chosen] | None:
    """The package with its signature key, or None when it is not what it is offered as."""
    try:
        data = decode(item.get("keyPackage"))
        info = key_package(data)
    except (BadAnswer, MlsError):
        return None
    did = (info.identity or b"").decode(errors="replace").partition("#")[0]
    if did not in dids or did != str(item.get("did", "")).partition("#")[0]:
        return None
    return info.signature_key, Chosen(did, info.reference.hex(), data)
