"""Getting out of a convo, and in again."""

import asyncio

import pytest
from cast import ALICE, BOB, CAROL, Stage, lunch, texts
from stand_in import Refused

from catbird import ConvoInactive, State, Unavailable, xrpc


def test_a_removed_device_can_read_its_past_and_nothing_else(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            _, _, hers, _ = await lunch(stage)
            await hers.add(CAROL)
            await carol.sync()
            theirs = carol.conversation(hers.id)
            await hers.send("welcome")
            await theirs.sync()
            await hers.remove(CAROL)
            await hers.send("alone again")
            await theirs.sync()
            assert theirs.state is State.GONE
            assert texts(await theirs.history()) == ["welcome"]
            assert carol.session.engine.group_ids() == ()
            with pytest.raises(ConvoInactive):
                await theirs.send("let me in")

    asyncio.run(scene())


def test_a_leaver_is_out_at_once_and_a_member_commits_it(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            phone, bob, hers, his = await lunch(stage)
            await hers.add(CAROL)
            await bob.sync()
            await carol.sync()
            epoch = hers.epoch
            await his.leave()
            await his.leave()
            assert his.state is State.GONE
            await asyncio.gather(phone.sync(), carol.sync())
            assert [member.did for member in hers.members] == [ALICE, CAROL]
            assert hers.epoch == epoch + 1
            await hers.send("two left")
            await carol.sync()
            assert texts(await carol.conversation(hers.id).history()) == ["two left"]

    asyncio.run(scene())


def test_who_left_may_be_added_again_and_keeps_the_old_messages(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, bob, hers, his = await lunch(stage)
            await hers.send("before")
            await his.sync()
            await his.leave()
            await phone.sync()
            await hers.add(BOB)
            report = await bob.sync()
            assert report.joined == [hers.id]
            await hers.send("after")
            await his.sync()
            assert texts(await his.history()) == ["before", "after"]

    asyncio.run(scene())


def test_a_leaver_whose_answer_is_lost_is_out_all_the_same(
    cast: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, bob, hers, his = await lunch(stage)
            monkeypatch.setattr(xrpc, "MAX_ATTEMPTS", 1)
            stage.server.lose["leaveConvo"] = 1
            with pytest.raises(Unavailable):
                await his.leave()
            await bob.sync()
            assert his.state is State.GONE
            await phone.sync()
            assert [member.did for member in hers.members] == [ALICE]

    asyncio.run(scene())


def test_leaving_again_after_a_lost_answer_forgets_the_secrets_too(
    cast: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, _, his = await lunch(stage)
            monkeypatch.setattr(xrpc, "MAX_ATTEMPTS", 1)
            stage.server.lose["leaveConvo"] = 1
            with pytest.raises(Unavailable):
                await his.leave()
            await his.leave()
            assert (his.state, bob.session.engine.group_ids()) == (State.GONE, ())

    asyncio.run(scene())


def test_who_leaves_while_others_commit_is_taken_along_by_the_next_try(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            epoch = hers.epoch
            stage.server.before["addMembers"] = his.leave
            assert await hers.renew() == epoch + 1
            assert [member.did for member in hers.members] == [ALICE]
            assert stage.server.calls.count("addMembers") == 3

    asyncio.run(scene())


def test_removing_who_is_leaving_already_is_one_removal(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            await his.leave()
            await hers.remove(BOB)
            assert [member.did for member in hers.members] == [ALICE]
            assert await hers.remove(BOB) == hers.epoch

    asyncio.run(scene())


def test_who_must_send_commits_a_leaving_first(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            _, _, hers, his = await lunch(stage)
            await hers.add(CAROL)
            await carol.sync()
            await his.sync()
            await his.leave()
            theirs = carol.conversation(hers.id)
            await theirs.send("moving on")
            await theirs.sync()
            await theirs.send("to the two of us")
            await hers.sync()
            assert texts(await hers.history()) == ["moving on", "to the two of us"]
            assert [member.did for member in hers.members] == [ALICE, CAROL]

    asyncio.run(scene())


def test_members_take_turns_by_leaf(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            carol = await stage.device(CAROL, "phone")
            phone, bob, hers, his = await lunch(stage)
            await hers.add(CAROL)
            await asyncio.gather(bob.sync(), carol.sync())
            waits: list[float] = []

            async def wait(seconds: float) -> None:
                waits.append(seconds)

            await his.leave()
            carol.session.sleep = phone.session.sleep = wait
            await carol.sync()
            assert [round(seconds / 0.15) for seconds in waits] in ([1], [2])
            waits.clear()
            await phone.sync()
            assert waits == []

    asyncio.run(scene())


def test_who_was_shut_out_without_seeing_why_can_be_let_in_again(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            await hers.remove(BOB)
            stage.server.convos[hers.id].last_seq[bob.session.engine.signer.public] = 0
            await his.sync()
            assert (his.state, his.members) == (State.GONE, [])
            await hers.add(BOB)
            assert (await bob.sync()).joined == [hers.id]
            await his.send("thank you")
            await hers.sync()
            assert texts(await hers.history()) == ["thank you"]

    asyncio.run(scene())


def test_a_refused_welcome_is_reported_and_joined_later(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, bob = await stage.device(ALICE, "phone"), await stage.device(BOB, "phone")
            hers = await phone.create("Lunch", [BOB])
            welcomes = stage.server.convos[hers.id].welcomes
            welcome, tree, epoch = welcomes[bob.device_id]
            welcomes[bob.device_id] = (welcome, tree[:-1], epoch)
            for other_way in ("getGroupInfo", "rejoin"):
                stage.server.refuse[other_way] = [Refused(403, "Unauthorized")]
            report = await bob.sync()
            assert list(report.failed) == [hers.id]
            welcomes[bob.device_id] = (welcome, tree, epoch)
            assert (await bob.sync()).rejoined == [hers.id]

    asyncio.run(scene())
