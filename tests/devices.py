"""Real MLS devices for the tests: what a phone does, without a network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from openmls.client import Client, CommitBundle, Group

SUITE = "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"
ALICE, BOB, CAROL, MALLORY = (f"did:plc:{name}" for name in ("alice", "bob", "carol", "mallory"))


@dataclass
class Phone:
    """One device of an account with its own keys and groups."""

    did: str
    name: str = "phone"
    client: Client = field(init=False)
    device_id: str = ""
    uuid: str = field(default_factory=lambda: str(uuid4()))

    def __post_init__(self) -> None:
        self.client = Client(self.did.encode())

    @property
    def signature_key(self) -> bytes:
        return self.client.signer.public

    def packages(self, count: int = 1, *, last_resort: bool = False) -> list[bytes]:
        return self.client.key_packages(count, last_resort=last_resort)

    def items(self, count: int = 1) -> list[dict[str, object]]:
        """Packages as the services take them."""
        return [{"key_package": package, "cipher_suite": SUITE} for package in self.packages(count)]

    def new_group(self, group_id: bytes) -> Group:
        return self.client.create_group(group_id)

    def group(self, convo_id: str) -> Group:
        return self.client.group(bytes.fromhex(convo_id))

    def add(self, convo_id: str, packages: Sequence[bytes]) -> CommitBundle:
        return self.group(convo_id).commit(add=list(packages))


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)
