"""Alice has a phone and a laptop, Bob and Carol a phone each; all of them talk to one stand-in."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from stand_in import StandIn

from catbird import Client, Conversation, DevAuth, Message

ALICE = "did:plc:alice"
BOB = "did:plc:bob"
CAROL = "did:plc:carol"

Stage = Callable[[], Any]


async def no_wait(_seconds: float) -> None:
    return None


class Cast:
    """Opens devices of the cast against one stand-in; a device's name is also its file's."""

    def __init__(self, folder: Path, server: StandIn, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.server = server

    async def device(self, did: str, name: str, *, register: bool = True) -> Client:
        client = self.unregistered(did, name)
        await self._stack.enter_async_context(client)
        if register:
            await client.register(name)
        return client

    def unregistered(self, did: str, name: str) -> Client:
        auth = DevAuth(did, "secret", "did:web:localhost")
        path = self._folder / f"{did.rpartition(':')[2]}-{name}.db"
        client = Client(path, "http://stand-in", auth, transport=self.server.transport())
        client.session.sleep = no_wait
        client.session.methods.xrpc._sleep = no_wait
        return client


def texts(messages: Sequence[Message]) -> list[str | None]:
    return [message.text for message in messages]


def forget(convo: Conversation) -> None:
    """The group is gone from this device, and nothing else."""
    with convo._session.change() as engine:
        engine.forget_group(bytes.fromhex(convo.id))


async def lunch(cast: Cast) -> tuple[Client, Client, Conversation, Conversation]:
    phone, bob = await cast.device(ALICE, "phone"), await cast.device(BOB, "phone")
    theirs = await phone.create("Lunch", [BOB])
    await bob.sync()
    return phone, bob, theirs, bob.conversation(theirs.id)
