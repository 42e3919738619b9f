"""What the store keeps, as values."""

import json
from dataclasses import dataclass
from enum import StrEnum

from catbird.wire import Json


class State(StrEnum):
    """Where this device stands in a convo.

    CREATING until the server has taken the convo, OK while it can act, LOST when only joining anew helps,
    GONE when it is out; what it has read stays readable in every state.
    """

    CREATING = "creating"
    OK = "ok"
    LOST = "lost"
    GONE = "gone"


class Kind(StrEnum):
    """What is on its way to the server."""

    CREATE = "create"
    COMMIT = "commit"
    MESSAGE = "message"
    LEAVE = "leave"


@dataclass(frozen=True)
class DeviceRow:
    did: str
    device_uuid: str
    device_id: str | None
    name: str | None


@dataclass(frozen=True)
class ConvoRow:
    """``seq`` is the last place applied; None for a device that has joined and read nothing yet."""

    id: str
    name: str
    state: State
    epoch: int
    join_epoch: int
    seq: int | None
    unconfirmed: bool

    @property
    def group_id(self) -> bytes:
        return bytes.fromhex(self.id)


@dataclass(frozen=True)
class Message:
    """An entry of the log as this device could read it.

    ``kind`` is the payload's ``messageType``, or ``undecryptable`` with the cause under ``reason`` in
    ``payload``.
    """

    convo_id: str
    seq: int
    id: str
    epoch: int
    kind: str
    sender: str | None
    mine: bool
    payload: Json
    created_at: str

    @property
    def text(self) -> str | None:
        text = self.payload.get("text")
        return text if isinstance(text, str) else None


@dataclass(frozen=True)
class Outgoing:
    """A request that was decided and whose answer is not known yet.

    ``mls`` is the commit, proposal or ciphertext inside it, ``body`` the padded plaintext of a message.
    """

    id: str
    convo_id: str
    kind: Kind
    method: str
    request: Json
    mls: bytes
    body: str
    epoch: int

    @property
    def request_text(self) -> str:
        return json.dumps(self.request, separators=(",", ":"))
