"""What members do for others: the server's removals committed, devices let in anew."""

import asyncio

import pytest
from cast import ALICE, BOB, CAROL, Stage, forget, lunch, texts
from openmls.client import Client as Engine
from openmls.client import Signer
from openmls.delivery import key_package
from stand_in import DID, Refused

from catbird import Client, Conversation, State
from catbird.helping import let_in_anew
from catbird.rows import ExternalSender

EARLIER, LATER = "2025-12-31T00:00:00.000Z", "2026-01-01T00:00:01.000Z"


def test_a_group_lists_the_server_as_it_was_told_at_registration(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, _ = await lunch(stage)
            senders = stage.server.convos[hers.id].group.external_senders
            assert senders == ((DID, stage.server.signer.public),)

    asyncio.run(scene())


def test_a_removal_by_the_server_is_committed_without_being_asked(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            phone, bob, hers, _ = await lunch(stage)
            await hers.add(CAROL)
            await bob.sync()
            epoch = hers.epoch
            stage.server.propose_removal(hers.id, CAROL)
            await asyncio.gather(phone.sync(), bob.sync())
            assert [member.did for member in hers.members] == [ALICE, BOB]
            assert {hers.epoch, stage.server.convos[hers.id].group.epoch} == {epoch + 1}
            await carol.sync()
            assert [convo.state for convo in await carol.conversations()] in ([], [State.GONE])

    asyncio.run(scene())


def test_a_commit_that_left_the_servers_removal_out_is_made_again_with_it(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)

            async def propose() -> None:
                stage.server.propose_removal(hers.id, BOB)

            stage.server.before["addMembers"] = propose
            epoch = hers.epoch
            assert await hers.renew() == epoch + 1
            assert [member.did for member in hers.members] == [ALICE]
            await bob.sync()
            assert his.state is State.GONE

    asyncio.run(scene())


def test_what_the_server_proposes_beyond_removals_is_not_committed(cast: Stage) -> None:
    """Listed as external sender, the server could let itself in by the members' next commit."""

    async def scene() -> None:
        async with cast() as stage:
            phone, signer = await stage.device(ALICE, "phone"), Signer.generate()
            phone.session.registered(phone.device_id, "phone", ExternalSender(DID, signer.public))
            hers = await phone.create("Lunch", [])
            stage.server.convos[hers.id].append("proposal", add_itself(hers, signer), hers.epoch)
            await phone.sync()
            assert phone.session.group(hers.id).pending_proposals() == ()
            await hers.renew()
            assert [member.did for member in hers.members] == [ALICE]

    asyncio.run(scene())


def add_itself(convo: Conversation, signer: Signer) -> bytes:
    """RFC 9420 sections 6.1 and 12.1.8: an Add as a PublicMessage of an external sender."""
    package = key_package(Engine(DID).key_packages(1)[0]).raw
    content = vector(bytes.fromhex(convo.id)) + convo.epoch.to_bytes(8, "big")
    content += b"\2" + (0).to_bytes(4, "big") + vector(b"") + b"\2" + b"\0\1" + package
    signed = b"\0\1" + b"\0\1" + content
    signature = signer.sign(vector(b"MLS 1.0 FramedContentTBS") + vector(signed))
    return b"\0\1\0\1" + content + vector(signature)


def vector(data: bytes) -> bytes:
    size = len(data)
    return (bytes([size]) if size < 64 else (0x4000 | size).to_bytes(2, "big")) + data


async def listening_until(client: Client, done: asyncio.Event) -> None:
    listener = asyncio.create_task(anext(client.listen()))
    await done.wait()
    listener.cancel()


def test_of_many_members_one_lets_a_device_in_anew(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            phone, bob, hers, his = await lunch(stage)
            await hers.add(CAROL)
            await asyncio.gather(bob.sync(), carol.sync())
            for client in (phone, carol):
                client.session.sleep = asyncio.sleep
            forget(his)
            stage.server.refuse["getGroupInfo"] = [Refused(403, "Unauthorized")]
            assert (await bob.sync()).waiting == [hers.id]
            epoch, done = stage.server.convos[hers.id].group.epoch, asyncio.Event()
            listeners = [asyncio.create_task(listening_until(client, done)) for client in (phone, carol)]
            while his.state is not State.OK:
                await asyncio.sleep(0.02)
                await bob.sync()
            await asyncio.sleep(0.5)
            done.set()
            await asyncio.gather(*listeners)
            assert stage.server.convos[hers.id].group.epoch == epoch + 1
            await hers.send("welcome back")
            await his.sync()
            assert texts(await his.history()) == ["welcome back"]

    asyncio.run(asyncio.wait_for(scene(), 20))


@pytest.mark.parametrize(
    ("did", "asked_at", "commits"), [(BOB, LATER, 1), (BOB, EARLIER, 0), (ALICE, LATER, 0)]
)
def test_only_a_request_of_others_that_is_still_open_is_answered(
    cast: Stage, did: str, asked_at: str, commits: int
) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, _, hers, _ = await lunch(stage)
            epoch = hers.epoch
            await let_in_anew(phone.session, hers.id, did, asked_at)
            assert hers.epoch == epoch + commits

    asyncio.run(scene())


def test_a_device_that_came_back_meanwhile_is_left_alone(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            _, bob, hers, his = await lunch(stage)
            await hers.add(CAROL)
            await asyncio.gather(bob.sync(), carol.sync())
            forget(his)

            async def overtaken(_seconds: float) -> None:
                if his.state is not State.OK or not bob.session.has_group(his.id):
                    await bob.sync()

            carol.session.sleep = overtaken
            epoch = stage.server.convos[hers.id].group.epoch
            await let_in_anew(carol.session, hers.id, BOB, LATER)
            assert stage.server.convos[hers.id].group.epoch == epoch + 1
            assert stage.server.calls.count("processExternalCommit") == 1

    asyncio.run(scene())


def test_a_member_without_a_role_lets_in_the_device_that_asked(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            await stage.device(BOB, "tablet")
            phone, _, hers, _ = await lunch(stage)
            before = encryption_keys(phone, hers)
            # Neither both of his devices nor the first one alone, as nobody has asked for them.
            stage.server.refuse["addMembers"] = [Refused(403, "NotAdmin")] * 2
            await let_in_anew(phone.session, hers.id, BOB, LATER)
            changed = [did for did, key in encryption_keys(phone, hers) - before]
            assert sorted(changed) == [ALICE, BOB]
            assert [member.did for member in hers.members] == [ALICE, BOB, BOB]

    asyncio.run(scene())


def encryption_keys(client: Client, convo: Conversation) -> set[tuple[str, bytes]]:
    members = client.session.group(convo.id).members()
    return {((member.identity or b"").decode(), member.encryption_key) for member in members}


def test_a_new_device_is_added_and_nobody_is_put_out(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, _, hers, _ = await lunch(stage)
            tablet = await stage.device(BOB, "tablet")
            before = encryption_keys(phone, hers)
            await let_in_anew(phone.session, hers.id, BOB, LATER)
            assert [member.did for member in hers.members] == [ALICE, BOB, BOB]
            assert (await tablet.sync()).joined == [hers.id]
            assert before < encryption_keys(phone, hers)

    asyncio.run(scene())
