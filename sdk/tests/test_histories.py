"""Random histories: sends, commits, lost answers, dead processes. Afterwards all devices are the same."""

import asyncio
import os
import random

import pytest
from cast import ALICE, BOB, CAROL, Cast, Stage
from stand_in import StandIn

from catbird import CatbirdError, Client, State

DEVICES = {"phone": ALICE, "laptop": ALICE, "bob": BOB, "carol": CAROL}
STEPS = 60
HISTORIES = int(os.environ.get("CATBIRD_HISTORIES", "12"))
LOSSY = (
    "sendMessage",
    "addMembers",
    "removeMember",
    "getMessages",
    "confirmWelcome",
    "getWelcome",
    "leaveConvo",
)


class History:
    """One seed is one history."""

    def __init__(self, cast: Cast, seed: int) -> None:
        self._cast = cast
        self._chance = random.Random(seed)  # noqa: S311 - chance, not secrecy
        self._clients: dict[str, Client] = {}
        self.sent: list[str] = []
        self.convo_id = ""

    @property
    def server(self) -> StandIn:
        return self._cast.server

    async def run(self) -> None:
        for name, did in DEVICES.items():
            self._clients[name] = await self._cast.device(did, name)
        self.convo_id = (await self._clients["phone"].create("Lunch", [BOB, CAROL])).id
        for _ in range(STEPS):
            self._lose_something()
            step = self._chance.choice(
                [self._send, self._send, self._send, self._sync, self._commit, self._die]
            )
            try:
                await step(self._chance.choice(list(DEVICES)))
            except CatbirdError:
                continue
        self.server.lose.clear()
        self.server.before.clear()

    async def settle(self) -> list[Client]:
        """Everybody catches up, twice: what the first round sends, the second one reads."""
        clients = list(self._clients.values())
        for _ in range(2):
            for client in clients:
                report = await client.sync()
                assert report.failed == {}
        return clients

    def _lose_something(self) -> None:
        if self._chance.random() < 0.5:
            self.server.lose[self._chance.choice(LOSSY)] = self._chance.choice([1, 3, 4, 8])
        if self._chance.random() < 0.3:
            rival = self._chance.choice(list(DEVICES))
            self.server.before["addMembers"] = lambda: self._interfere(rival)

    async def _interfere(self, name: str) -> None:
        """Somebody else is faster, unless it is the one who is being overtaken."""
        rival = self._clients[name]
        if self.convo_id in self._known(rival) and not rival.session.lock(self.convo_id).locked():
            try:
                if self._chance.random() < 0.5:
                    await rival.conversation(self.convo_id).renew()
                else:
                    await self._send(name)
            except CatbirdError:
                return

    async def _send(self, name: str) -> None:
        text = f"{len(self.sent)} from {name}"
        convo = self._clients[name].conversation(self.convo_id)
        self.sent.append(text)
        await convo.send(text)

    async def _sync(self, name: str) -> None:
        await self._clients[name].sync()

    async def _commit(self, name: str) -> None:
        await self._clients[name].conversation(self.convo_id).renew()

    async def _die(self, name: str) -> None:
        """Only what is in the file survives."""
        await self._clients[name].close()
        self._clients[name] = await self._cast.device(DEVICES[name], name)

    def _known(self, client: Client) -> set[str]:
        return {convo.id for convo in client.session.store.convos()}


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_all_devices_end_up_the_same(cast: Stage, seed: int) -> None:
    async def scene() -> None:
        async with cast() as stage:
            history = History(stage, seed)
            await history.run()
            clients = await history.settle()
            convos = [client.conversation(history.convo_id) for client in clients]
            assert {convo.state for convo in convos} == {State.OK}
            assert (
                len({client.session.group(history.convo_id).epoch_authenticator() for client in clients}) == 1
            )
            assert all(not client.session.store.outbox(history.convo_id) for client in clients)
            read = [[(m.seq, m.sender, m.text) for m in await convo.history(limit=1000)] for convo in convos]
            assert all(one == read[0][-len(one) :] for one in read if one)
            texts = [text for _, _, text in read[0]]
            assert len(texts) == len(set(texts))
            assert sorted(map(str, texts)) == sorted(history.sent)

    asyncio.run(scene())
