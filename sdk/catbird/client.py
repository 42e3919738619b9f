from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from catbird import membership, packages
from catbird.auth import Auth
from catbird.catchup import SyncReport, recover, sync_all
from catbird.conversation import Conversation
from catbird.errors import CatbirdError
from catbird.listening import listen_to_all
from catbird.methods import Methods
from catbird.rows import ExternalSender, Message
from catbird.session import Session
from catbird.store import Store
from catbird.wire import Json, basic_identity, decode
from catbird.xrpc import Xrpc


@dataclass(frozen=True)
class Device:
    """A device of the account, as the server lists it."""

    id: str
    name: str
    uuid: str | None
    key_packages: int


class Client:
    """One device of one account: its store, its keys, its convos. One process at a time."""

    def __init__(
        self, path: str | Path, server: str, auth: Auth, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._store = Store(Path(path).expanduser())
        try:
            self._xrpc = Xrpc(server, auth, transport=transport)
            self.session = Session(self._store, Methods(self._xrpc), auth.did)
        except BaseException:
            self._store.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection and the store; everything worth keeping is in the file already."""
        await self._xrpc.close()
        self._store.close()

    @property
    def did(self) -> str:
        return self.session.did

    @property
    def device_id(self) -> str:
        return self.session.device_id

    async def register(self, name: str) -> Device:
        """Make this device known, with its first key packages. Once done, it is not done again."""
        if self.session.device.device_id is None:
            with self.session.change() as engine:
                items = packages.make(engine, packages.TARGET)
            answer = await self.session.methods.register_device(
                name=name,
                device_uuid=self.session.device.device_uuid,
                signature_key=self.session.engine.signer.public,
                key_packages=items,
            )
            self.session.registered(str(answer["deviceId"]), name, _external_sender(answer))
        return Device(
            self.device_id, self.session.device.name or name, self.session.device.device_uuid, packages.TARGET
        )

    async def devices(self) -> list[Device]:
        """All devices of the account."""
        answer = await self.session.methods.list_devices()
        return [_device(info) for info in answer["devices"]]

    async def delete_device(self, device_id: str) -> None:
        await self.session.methods.delete_device(device_id)

    async def replenish(self, *, force: bool = False) -> int:
        """Publish key packages when few are left, or one batch in any case; returns how many were taken."""
        mine = [device for device in await self.devices() if device.id == self.device_id]
        left = mine[0].key_packages if mine else 0
        if left >= packages.LOW_WATER and not force:
            return 0
        with self.session.change() as engine:
            items = packages.make(engine, packages.TARGET if force else packages.TARGET - left)
        answer = await self.session.methods.publish_key_packages(items)
        return int(answer["succeeded"])

    async def create(self, name: str, dids: list[str], *, description: str = "") -> Conversation:
        """A new convo with all devices of these accounts, and all other devices of one's own.

        When letting the others in fails, the convo exists with this device alone in it, and ``add`` can be
        tried again.
        """
        convo_id = membership.new_convo_id()
        async with self.session.lock(convo_id):
            await membership.announce(
                self.session, membership.start(self.session, convo_id, name, description)
            )
        conversation = self.conversation(convo_id)
        await conversation.add(*dict.fromkeys([*dids, self.did]))
        return conversation

    async def conversations(self) -> list[Conversation]:
        """All convos this device knows, also those it is out of; ``state`` tells them apart."""
        return [Conversation(self.session, convo.id) for convo in self._store.convos()]

    def conversation(self, convo_id: str) -> Conversation:
        if self._store.convo(convo_id) is None:
            raise CatbirdError(f"{convo_id} is not known on this device")
        return Conversation(self.session, convo_id)

    async def sync(self) -> SyncReport:
        """Join what this device was added to, send what waits, read every log to its end.

        Convos this device has lost are come back into; the first sync also asks the server for those this
        device does not even know.
        """
        return await sync_all(self.session)

    async def recover(self) -> SyncReport:
        """Come back into every convo where this device should be and is not, by its own commit or a member's.

        The first sync and every new connection of a listener do so by themselves.
        """
        return await recover(self.session)

    def listen(self) -> AsyncGenerator[Message, None]:
        """Messages of all convos as they come, new convos included."""
        return listen_to_all(self.session)


def _external_sender(answer: Json) -> ExternalSender | None:
    """Who the server is in groups; None for one that proposes nothing."""
    if (sender := answer.get("externalSender")) is None:
        return None
    return ExternalSender(basic_identity(decode(sender["credential"])), decode(sender["signatureKey"]))


def _device(info: Json) -> Device:
    return Device(
        id=str(info["deviceId"]),
        name=str(info["deviceName"]),
        uuid=info.get("deviceUUID"),
        key_packages=int(info["keyPackageCount"]),
    )
