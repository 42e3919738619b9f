"""What the store keeps, as values."""

import json
from dataclasses import dataclass
from enum import StrEnum

from catbird.wire import Json


class State(StrEnum):
    """Where this device stands in a convo.

    CREATING until the server has taken the convo, OK while it can act, LOST when only coming in anew helps,
    WAITING when the members were asked to let it in, GONE when it is out; what it has read stays readable in
    every state.
    """

    CREATING = "creating"
    OK = "ok"
    LOST = "lost"
    WAITING = "waiting"
    GONE = "gone"


OUTSIDE = (State.LOST, State.WAITING)


class Kind(StrEnum):
    """What is on its way to the server."""

    CREATE = "create"
    COMMIT = "commit"
    MESSAGE = "message"
    LEAVE = "leave"
    REJOIN = "rejoin"


@dataclass(frozen=True)
class ExternalSender:
    """Who may propose removals in groups that list it: the server, by identity and signature key."""

    identity: bytes
    signature_key: bytes


@dataclass(frozen=True)
class DeviceRow:
    did: str
    device_uuid: str
    device_id: str | None
    name: str | None
    external_sender: ExternalSender | None = None


@dataclass(frozen=True)
class ConvoRow:
    """``seq`` is the last place applied; None for a device that has joined and read nothing yet.

    ``retry_at`` is the unix second before which a lost convo is not knocked at again.
    """

    id: str
    name: str
    state: State
    epoch: int
    join_epoch: int
    seq: int | None
    unconfirmed: bool
    retry_at: int = 0

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
