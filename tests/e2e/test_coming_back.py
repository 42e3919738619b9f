"""Devices of the SDK against a real server: they lose their groups and come back by themselves."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from catbird import Client, Conversation, DevAuth, State
from django.conf import settings

from conversations.models import GroupState, Member, ReadditionRequest, RejoinAttempt
from conversations.selectors import Asking
from conversations.services import remove_member
from delivery.streams import in_thread
from tests.devices import ALICE, BOB, CAROL
from tests.live import Web, web

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_SECONDS = 60
Text = str | None


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Web]:
    with web(CATBIRD_STREAM_LOOK_SECONDS="2") as running:
        yield running


class Losing(httpx.AsyncBaseTransport):
    """Real sockets; ``lose`` names a method whose next answer is lost after the server has given it."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self.lose = ""
        self.before: dict[str, Conversation] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.rpartition(".")[2]
        if rival := self.before.pop(method, None):
            await rival.renew()
        response = await self._inner.handle_async_request(request)
        if method == self.lose:
            self.lose = ""
            await response.aread()
            raise httpx.ReadError("the connection drops", request=request)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Scene:
    def __init__(self, folder: Path, url: str, stack: AsyncExitStack) -> None:
        self._folder, self._url, self._stack = folder, url, stack
        self.network = Losing()

    async def device(self, did: str, name: str) -> Client:
        auth = DevAuth(did, settings.JWT_SECRET, settings.SERVICE_DID)
        path = self._folder / f"{did.rpartition(':')[2]}-{name}.db"
        client = Client(path, self._url, auth, transport=self.network)
        await self._stack.enter_async_context(client)
        await client.register(name)
        return client

    async def lunch(self) -> tuple[Client, Client, Conversation, Conversation]:
        phone, bob = await self.device(ALICE, "phone"), await self.device(BOB, "phone")
        hers = await phone.create("Lunch", [BOB])
        await bob.sync()
        return phone, bob, hers, bob.conversation(hers.id)


@asynccontextmanager
async def scene(folder: Path, server: Web) -> AsyncIterator[Scene]:
    async with asyncio.timeout(PATIENCE_SECONDS), AsyncExitStack() as stack:
        yield Scene(folder, server.url, stack)


def forget(convo: Conversation) -> None:
    with convo._session.change() as engine:
        engine.forget_group(bytes.fromhex(convo.id))


async def read(*convos: Conversation) -> list[list[Text]]:
    """What each device has read, once it has caught up."""
    for convo in convos:
        await convo.sync()
    return [[message.text for message in await convo.history()] for convo in convos]


def are_one_group(*convos: Conversation) -> bool:
    return len({convo._session.group(convo.id).epoch_authenticator() for convo in convos}) == 1


def places(convo: Conversation, did: str) -> list[tuple[str, bool]]:
    """The account's places as the server has them, each with whether it may read and write."""
    rows = Member.objects.filter(convo_id=convo.id, did=did, left_at__isnull=True)
    return [(row.device_id, row.leaving_at is None) for row in rows]


@pytest.mark.parametrize("lost", ["", "processExternalCommit"])
def test_instant_rejoin(tmp_path: Path, server: Web, lost: str) -> None:
    async def story() -> None:
        async with scene(tmp_path, server) as stage:
            _, bob, hers, his = await stage.lunch()
            await hers.send("before")
            await his.sync()
            await hers.send("missed")
            forget(his)
            stage.network.lose = lost
            report = await bob.sync()
            assert (report.rejoined, report.failed, his.seq) == ([hers.id], {}, 4)
            await hers.sync()
            await hers.send("after")
            await his.send("thanks")
            assert await read(hers, his) == [["before", "missed", "after", "thanks"], ["before", "after", "thanks"]]
            assert are_one_group(hers, his)
            assert await in_thread(places)(his, BOB) == [(bob.device_id, True)]

    asyncio.run(story())


def test_epoch_mismatch_retry(tmp_path: Path, server: Web) -> None:
    async def story() -> None:
        async with scene(tmp_path, server) as stage:
            _, bob, hers, his = await stage.lunch()
            forget(his)
            stage.network.before["processExternalCommit"] = hers
            assert (await bob.sync()).rejoined == [hers.id]
            await hers.sync()
            await hers.send("at last")
            assert await read(his) == [["at last"]]
            assert await in_thread(outcomes)(his) == ["EpochMismatch", "accepted"]

    asyncio.run(story())


def outcomes(convo: Conversation) -> list[str]:
    return list(RejoinAttempt.objects.filter(convo_id=convo.id).order_by("pk").values_list("outcome", flat=True))


@pytest.mark.parametrize("by", ["founder", "member"])
def test_fallback_to_legacy_rejoin(tmp_path: Path, server: Web, by: str) -> None:
    async def story() -> None:
        async with scene(tmp_path, server) as stage:
            carol = await stage.device(CAROL, "phone")
            phone, bob, hers, his = await stage.lunch()
            await hers.add(CAROL)
            await asyncio.gather(bob.sync(), carol.sync())
            forget(his)
            await in_thread(GroupState.objects.filter(convo_id=his.id).update)(epoch=0)
            assert (await bob.sync()).waiting == [hers.id]
            await in_thread(GroupState.objects.filter(convo_id=his.id).update)(epoch=hers.epoch)
            helper = {"founder": phone, "member": carol}[by]
            async with aclosing(helper.listen()) as heard:
                listening = asyncio.create_task(anext(heard))
                while his.state is State.WAITING:
                    await asyncio.sleep(0.1)
                    await bob.sync()
                await his.send("they let me in")
                assert (await listening).text == "they let me in"
            assert are_one_group(his, helper.conversation(his.id))
            assert not await in_thread(ReadditionRequest.objects.filter(answered_at__isnull=True).exists)()

    asyncio.run(story())


def test_auto_recovery_on_launch(tmp_path: Path, server: Web) -> None:
    """The file is lost with everything in it; the account has another device in only one of two convos."""

    async def story() -> None:
        async with scene(tmp_path, server) as stage:
            phone, bob, hers, _ = await stage.lunch()
            dinner = await phone.create("Dinner", [BOB])
            await bob.close()
            fresh = await stage.device(BOB, "new-phone")
            assert sorted((await fresh.sync()).rejoined) == sorted([hers.id, dinner.id])
            await fresh.delete_device(bob.device_id)
            assert (await phone.sync()).failed == {}
            for convo in (hers, dinner):
                assert [member.did for member in convo.members] == [ALICE, BOB]
                await convo.send("back?")
                assert await read(fresh.conversation(convo.id)) == [["back?"]]
                assert await in_thread(places)(convo, BOB) == [(fresh.device_id, True)]

    asyncio.run(story())


def test_a_removal_by_the_server_is_committed_without_being_asked(tmp_path: Path, server: Web) -> None:
    async def story() -> None:
        async with scene(tmp_path, server) as stage:
            carol = await stage.device(CAROL, "phone")
            phone, _, hers, his = await stage.lunch()
            await hers.add(CAROL)
            await carol.sync()
            async with aclosing(phone.listen()) as heard:
                listening = asyncio.create_task(anext(heard))
                await asyncio.sleep(0.5)
                await in_thread(put_out)(hers)
                theirs = carol.conversation(hers.id)
                while len(theirs.members) > 2:
                    await asyncio.sleep(0.1)
                    await carol.sync()
                await theirs.send("without him")
                assert (await listening).text == "without him"
            assert await in_thread(places)(hers, BOB) == []
            # The first page holds what he may still read, the second is refused.
            await his.sync()
            await his.sync()
            assert his.state is State.GONE

    asyncio.run(story())


def put_out(convo: Conversation) -> None:
    """An admin's removal without a commit: the server proposes it."""
    remove_member(convo_id=convo.id, who=Asking(ALICE), target_did=BOB, bundle=None, key="k1")


def test_a_group_info_that_was_asked_for_is_given(tmp_path: Path, server: Web) -> None:
    async def story() -> None:
        async with scene(tmp_path, server) as stage:
            phone, bob, hers, _ = await stage.lunch()
            before = await in_thread(group_info_of)(hers)
            async with aclosing(phone.listen()) as heard:
                listening = asyncio.create_task(anext(heard))
                while await in_thread(group_info_of)(hers) == before:
                    await bob.session.methods.group_info_refresh(hers.id)
                    await asyncio.sleep(0.2)
                listening.cancel()
                await asyncio.wait([listening])

    asyncio.run(story())


def test_by_hand_it_is_one_command(tmp_path: Path, server: Web) -> None:
    secret = tmp_path / "secret"
    secret.write_text(settings.JWT_SECRET)

    def recover() -> list[str]:
        argv = [sys.executable, "-m", "catbird", "recover", str(tmp_path / "bob-phone.db"), "--server", server.url]
        argv += ["--secret-file", str(secret), "--service", settings.SERVICE_DID]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
        return done.stdout.splitlines()

    async def story() -> str:
        async with scene(tmp_path, server) as stage:
            _, _, hers, his = await stage.lunch()
            forget(his)
            return hers.id

    convo_id = asyncio.run(story())
    assert recover() == [f"rejoined {convo_id} Lunch"]
    assert recover() == ["nothing is lost"]


def group_info_of(convo: Conversation) -> bytes:
    return bytes(GroupState.objects.get(convo_id=convo.id).group_info)
