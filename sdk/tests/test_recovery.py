"""Coming back into a convo whose group this device has lost."""

import asyncio
from contextlib import aclosing

import pytest
from cast import ALICE, BOB, CAROL, Stage, forget, lunch, texts
from stand_in import Refused, StandIn

from catbird import Client, Conversation, ConvoInactive, State, Unavailable, xrpc
from catbird.recovery import MAX_ATTEMPTS, RETRY_SECONDS


def one_group(*convos: Conversation) -> bool:
    return len({convo._session.group(convo.id).epoch_authenticator() for convo in convos}) == 1


def test_instant_rejoin(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            await hers.send("before")
            await his.sync()
            await hers.send("missed")
            forget(his)
            report = await bob.sync()
            assert (report.rejoined, report.failed) == ([hers.id], {})
            (rejoined,) = [view for view in stage.server.convos[hers.id].log if view["epoch"] == his.epoch]
            assert his.seq == rejoined["seq"] == int(stage.server.given["getMessages"]["sinceSeq"])
            await hers.send("after")
            await his.sync()
            await his.send("thanks")
            await hers.sync()
            assert texts(await his.history()) == ["before", "after", "thanks"]
            assert [member.did for member in hers.members] == [ALICE, BOB]
            assert one_group(hers, his)

    asyncio.run(scene())


def test_what_waited_to_be_sent_goes_out_afterwards_and_once(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            stage.server.lose["sendMessage"] = 4
            with pytest.raises(Unavailable):
                await his.send("taken, but not answered")
            await hers.renew()
            forget(his)
            with pytest.raises(ConvoInactive, match="lost"):
                await his.send("kept")
            await bob.sync()
            await hers.sync()
            for convo in (hers, his):
                assert texts(await convo.history()) == ["taken, but not answered", "kept"]

    asyncio.run(scene())


def test_epoch_mismatch_retry(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            forget(his)
            stage.server.before["processExternalCommit"] = hers.renew
            assert (await bob.sync()).rejoined == [hers.id]
            assert stage.server.calls.count("processExternalCommit") == 2
            assert stage.server.calls.count("getGroupInfo") == 2
            await hers.sync()
            assert one_group(hers, his)

    asyncio.run(scene())


def test_attempts_end_and_the_members_are_asked(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            forget(his)
            overtaken = Refused(409, "EpochMismatch", currentEpoch=9)
            stage.server.refuse["processExternalCommit"] = [overtaken] * 100
            assert (await bob.sync()).waiting == [hers.id]
            assert stage.server.calls.count("processExternalCommit") == MAX_ATTEMPTS
            assert (his.state, stage.server.calls.count("rejoin")) == (State.WAITING, 1)

    asyncio.run(scene())


@pytest.mark.parametrize("died", [False, True])
def test_a_lost_answer_leads_to_the_same_epoch(
    cast: Stage, monkeypatch: pytest.MonkeyPatch, *, died: bool
) -> None:
    async def scene() -> None:
        async with cast() as stage:
            monkeypatch.setattr(xrpc, "MAX_ATTEMPTS", 1)
            _, bob, hers, his = await lunch(stage)
            forget(his)
            stage.server.lose["processExternalCommit"] = 1
            assert list((await bob.sync()).failed) == [hers.id]
            assert his.state is State.LOST
            await hers.sync()
            epoch = hers.epoch
            await hers.renew()
            await hers.send("in between")
            if died:
                await bob.close()
                bob = await stage.device(BOB, "phone")
                his = bob.conversation(hers.id)
            assert (await bob.sync()).rejoined == [hers.id]
            assert stage.server.convos[hers.id].group.epoch == epoch + 1
            assert texts(await his.history()) == ["in between"]
            assert one_group(hers, his)

    asyncio.run(scene())


def test_a_commit_that_was_taken_is_found_in_the_log_behind_a_refusal(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            forget(his)
            stage.server.lose["processExternalCommit"] = 1
            stage.server.before["processExternalCommit"] = lambda: refuse_later(stage.server)
            assert (await bob.sync()).rejoined == [hers.id]
            assert stage.server.calls.count("getCommits") == 1
            await hers.send("found")
            await his.sync()
            assert texts(await his.history()) == ["found"]
            assert one_group(hers, his)

    async def refuse_later(server: StandIn) -> None:
        server.before["processExternalCommit"] = lambda: refuse_now(server)

    async def refuse_now(server: StandIn) -> None:
        server.refuse["processExternalCommit"] = [Refused(403, "Unauthorized")]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("method", "refusal"),
    [
        ("getGroupInfo", Refused(403, "Unauthorized")),
        ("getGroupInfo", Refused(404, "GroupInfoUnavailable")),
        ("getGroupInfo", Refused(501, "MethodNotImplemented")),
        ("processExternalCommit", Refused(403, "Unauthorized")),
        ("processExternalCommit", Refused(400, "InvalidCommit")),
        ("processExternalCommit", Refused(429, "RateLimitExceeded")),
    ],
    ids=lambda value: value.body["error"] if isinstance(value, Refused) else value,
)
def test_fallback_to_legacy_rejoin(cast: Stage, method: str, refusal: Refused) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            packages = len(stage.server.devices[bob.device_id].packages)
            forget(his)
            stage.server.refuse[method] = [refusal] * 4
            report = await bob.sync()
            assert (report.waiting, report.failed, his.state) == ([hers.id], {}, State.WAITING)
            assert len(stage.server.devices[bob.device_id].packages) == packages + 1
            async with aclosing(hers.listen()) as heard:
                waiting = asyncio.create_task(anext(heard))
                await until_in(bob, his)
                await his.send("they let me in")
                assert (await waiting).text == "they let me in"
            assert [member.did for member in hers.members] == [ALICE, BOB]
            assert one_group(hers, his)

    asyncio.run(asyncio.wait_for(scene(), 20))


async def until_in(client: Client, convo: Conversation) -> None:
    while convo.state is State.WAITING:
        await asyncio.sleep(0.01)
        await client.sync()


def test_a_group_info_nobody_has_given_is_asked_for_and_given(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            forget(his)
            convo = stage.server.convos[hers.id]
            convo.group_info = None
            stage.server.refuse["rejoin"] = [Refused(409, "NoActiveMembers")]
            assert list((await bob.sync()).failed) == [hers.id]
            assert his.state is State.LOST
            listening = asyncio.create_task(anext(hers.listen()))
            while convo.group_info is None:
                await asyncio.sleep(0.01)
            listening.cancel()
            bob.session.clock = lambda: 10**10
            assert (await bob.sync()).rejoined == [hers.id]

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_who_was_refused_does_not_knock_again_at_once(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, _, his = await lunch(stage)
            now = 1_000_000.0
            bob.session.clock = lambda: now
            forget(his)
            stage.server.refuse["getGroupInfo"] = [Refused(403, "Unauthorized")]
            for _ in range(3):
                assert (await bob.sync()).waiting == [his.id]
            assert stage.server.calls.count("getGroupInfo") == 1
            now += RETRY_SECONDS
            assert (await bob.sync()).rejoined == [his.id]

    asyncio.run(scene())


def test_enough_packages_are_no_reason_not_to_ask(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, _, his = await lunch(stage)
            forget(his)
            stage.server.refuse["getGroupInfo"] = [Refused(403, "Unauthorized")]
            stage.server.refuse["rejoin"] = [Refused(400, "TooManyKeyPackages")]
            assert (await bob.sync()).waiting == [his.id]
            assert stage.server.calls.count("readdition") == 1

    asyncio.run(scene())


def test_who_was_put_out_meanwhile_is_gone(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            bob.session.store.set_state(his.id, State.LOST)
            await hers.remove(BOB)
            report = await bob.sync()
            assert (report.gone, report.rejoined, his.state) == ([his.id], [], State.GONE)

    asyncio.run(scene())


def test_a_group_info_of_another_group_is_not_believed(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, bob, _, his = await lunch(stage)
            other = await phone.create("Dinner", [BOB])
            forget(his)
            mine, theirs = stage.server.convos[his.id], stage.server.convos[other.id]
            stage.server.convos[his.id] = theirs
            await his.sync()
            stage.server.convos[his.id] = mine
            assert (his.state, stage.server.calls.count("processExternalCommit")) == (State.WAITING, 0)
            assert bob.session.engine.group_ids() == ()

    asyncio.run(scene())


def test_auto_recovery_on_launch(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, _, hers, his = await lunch(stage)
            dinner = await phone.create("Dinner", [BOB])
            await hers.send("before")
            fresh = await stage.device(BOB, "tablet")
            report = await fresh.sync()
            assert sorted(report.rejoined) == sorted([hers.id, dinner.id])
            assert {convo.name for convo in await fresh.conversations()} == {"Lunch", "Dinner"}
            await hers.send("after")
            assert (await fresh.sync()).rejoined == []
            assert texts(await fresh.conversation(hers.id).history()) == ["after"]
            assert stage.server.calls.count("getExpectedConversations") == 2
            await his.sync()
            assert [member.did for member in his.members] == [ALICE, BOB, BOB]

    asyncio.run(scene())


def test_a_listener_comes_back_on_connecting_and_when_it_is_lost_on_the_way(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            forget(his)
            async with aclosing(bob.listen()) as heard:
                waiting = asyncio.create_task(anext(heard))
                await back(stage.server, his, times=1)
                await hers.send("in again")
                assert (await waiting).text == "in again"
                waiting = asyncio.create_task(anext(heard))
                await asyncio.sleep(0.05)
                stage.server.convos[hers.id].append("commit", b"poison", his.epoch + 1)
                stage.server.rung.set()
                await back(stage.server, his, times=2)
                hers._session.store.set_position(hers.id, epoch=hers.epoch, seq=hers.seq + 1)
                await hers.send("and once more")
                assert (await waiting).text == "and once more"

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_what_another_device_of_the_account_began_is_come_into_on_connecting(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            tablet = await stage.device(BOB, "tablet")
            assert (await tablet.sync()).rejoined == [hers.id]
            stage.server.devices[tablet.device_id].packages.clear()
            dinner = await bob.create("Dinner", [ALICE])
            assert (await tablet.sync()).rejoined == []
            async with aclosing(tablet.listen()) as heard:
                waiting = asyncio.create_task(anext(heard))
                while stage.server.calls.count("processExternalCommit") < 2:
                    await asyncio.sleep(0.01)
                await dinner.sync()
                await dinner.send("all my devices?")
                assert (await waiting).text == "all my devices?"
            assert [member.did for member in dinner.members] == [BOB, ALICE, BOB]
            assert his.state is State.OK

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_welcome_of_no_use_is_replaced_by_an_own_commit(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, bob = await stage.device(ALICE, "phone"), await stage.device(BOB, "phone")
            await bob.sync()
            hers = await phone.create("Lunch", [BOB])
            welcome, tree, epoch = stage.server.convos[hers.id].welcomes[bob.device_id]
            stage.server.convos[hers.id].welcomes[bob.device_id] = (welcome, tree[:-1], epoch)
            report = await bob.sync()
            assert (report.joined, report.rejoined, report.failed) == ([], [hers.id], {})
            assert bob.conversation(hers.id).name == "Lunch"
            assert not stage.server.given["confirmWelcome"]["success"]

    asyncio.run(scene())


def test_who_left_stays_out_until_asked_to_come_back(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            laptop = await stage.device(ALICE, "laptop")
            _, _, hers, his = await lunch(stage)
            await laptop.sync()
            left = laptop.conversation(hers.id)
            await left.leave()
            laptop.session.looked_around = False
            assert ((await laptop.sync()).rejoined, (await laptop.recover()).rejoined) == ([], [])
            assert left.state is State.GONE
            assert await left.rejoin() is State.OK
            await his.sync()
            assert [member.did for member in his.members] == [ALICE, ALICE, BOB]

    asyncio.run(scene())


def test_who_has_lost_the_group_can_leave_all_the_same(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, _, his = await lunch(stage)
            forget(his)
            bob.session.store.set_state(his.id, State.LOST)
            stage.server.refuse["leaveConvo"] = [Refused(403, "NotMember")]
            await his.leave()
            assert his.state is State.GONE

    asyncio.run(scene())


def test_recovering_tells_what_it_could_not_do(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            _, bob, hers, his = await lunch(stage)
            assert (await bob.recover()).rejoined == (await carol.recover()).rejoined == []
            forget(his)
            for method in ("getGroupInfo", "rejoin"):
                stage.server.refuse[method] = [Refused(409, "NoActiveMembers")]
            report = await bob.recover()
            assert list(report.failed) == [hers.id]
            bob.session.clock = lambda: 10**10
            assert (await bob.recover()).rejoined == [hers.id]

    asyncio.run(scene())


async def back(server: StandIn, convo: Conversation, *, times: int) -> None:
    while server.calls.count("processExternalCommit") < times or convo.state is not State.OK:
        await asyncio.sleep(0.01)
