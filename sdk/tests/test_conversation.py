"""Devices against a stand-in of the server: real MLS, lost answers, lost races, crashes."""

import asyncio
from contextlib import aclosing

import httpx
import pytest
from cast import ALICE, BOB, CAROL, Stage, lunch, texts

from catbird import Conversation, NoKeyPackages, State, Unavailable, commits, xrpc


def test_messages_reach_every_device_and_are_read_once(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            laptop = await stage.device(ALICE, "laptop")
            _, _, hers, his = await lunch(stage)
            await laptop.sync()
            await hers.send("hello")
            await his.send("hi")
            for device in (hers, his, laptop.conversation(hers.id)):
                await device.sync()
                await device.sync()
                assert texts(await device.history()) == ["hello", "hi"]
            assert his.name == "Lunch"
            assert [member.did for member in his.members] == [ALICE, ALICE, BOB]
            assert [message.sender for message in await his.history()] == [ALICE, BOB]
            assert [message.mine for message in await his.history()] == [False, True]

    asyncio.run(scene())


def test_a_device_that_is_in_is_not_added_again(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, _ = await lunch(stage)
            epoch = hers.epoch
            assert await hers.add(BOB) == epoch
            await stage.device(BOB, "tablet")
            assert await hers.add(BOB) == epoch + 1
            assert [member.did for member in hers.members] == [ALICE, BOB, BOB]

    asyncio.run(scene())


def test_an_account_without_packages_is_named_and_nobody_is_added(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, _ = await lunch(stage)
            await stage.device(CAROL, "phone")
            epoch = hers.epoch
            with pytest.raises(NoKeyPackages, match="did:plc:nobody"):
                await hers.add(CAROL, "did:plc:nobody")
            assert (hers.epoch, len(hers.members)) == (epoch, 2)

    asyncio.run(scene())


def test_a_lost_race_is_synced_and_tried_again(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            await stage.device(CAROL, "phone")
            epoch = hers.epoch
            stage.server.before["addMembers"] = his.renew
            assert await hers.add(CAROL) == epoch + 2
            await his.sync()
            assert (his.epoch, his.state) == (hers.epoch, State.OK)
            await his.send("both are in")
            await hers.sync()
            assert texts(await hers.history()) == ["both are in"]

    asyncio.run(scene())


def test_a_commit_whose_answers_are_all_lost_is_found_in_the_log(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            epoch = hers.epoch
            stage.server.lose["addMembers"] = 4
            assert await hers.renew() == epoch + 1
            assert stage.server.lose["addMembers"] == 0
            await hers.send("still here")
            await his.sync()
            assert texts(await his.history()) == ["still here"]

    asyncio.run(scene())


def test_a_commit_that_was_taken_before_a_crash_is_confirmed_afterwards(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, _, hers, his = await lunch(stage)
            epoch = hers.epoch
            stage.server.lose.update(addMembers=4, getMessages=100)
            with pytest.raises(Unavailable):
                await _renew_without_looking(hers)
            assert hers.epoch == epoch
            await phone.close()
            stage.server.lose.clear()
            again = await stage.device(ALICE, "phone")
            report = await again.sync()
            assert report.failed == {}
            assert again.conversation(hers.id).epoch == epoch + 1
            await again.conversation(hers.id).send("back")
            await his.sync()
            assert texts(await his.history()) == ["back"]

    asyncio.run(scene())


async def _renew_without_looking(convo: Conversation) -> None:
    """Only the sending half of a commit, because without reading the log first none is begun."""
    session = convo._session
    await commits.submit(session, commits.stage(session, convo.id, commits.Change(update=True)))


def test_a_message_whose_answer_is_lost_is_sent_once(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, _, hers, his = await lunch(stage)
            stage.server.lose["sendMessage"] = 4
            with pytest.raises(Unavailable):
                await hers.send("once")
            assert await hers.history() == []
            await phone.sync()
            await his.sync()
            assert texts(await hers.history()) == ["once"]
            assert texts(await his.history()) == ["once"]

    asyncio.run(scene())


def test_messages_left_unsent_go_out_in_order_after_a_crash(
    cast: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, _, hers, his = await lunch(stage)
            monkeypatch.setattr(xrpc, "MAX_ATTEMPTS", 1)
            stage.server.before["sendMessage"] = nobody_there
            with pytest.raises(Unavailable):
                await hers.send("first")
            await phone.close()
            again = (await stage.device(ALICE, "phone")).conversation(hers.id)
            await his.renew()
            await again.send("second")
            await his.sync()
            assert texts(await his.history()) == ["first", "second"]

    asyncio.run(scene())


async def nobody_there() -> None:
    raise httpx.ConnectError("nobody there")


def test_a_message_of_a_past_epoch_is_encrypted_again_under_its_id(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            await his.renew()
            message = await hers.send("late")
            assert message.epoch == his.epoch
            await his.sync()
            assert [(m.id, m.text) for m in await his.history()] == [(message.id, "late")]

    asyncio.run(scene())


def test_the_log_is_read_page_by_page(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            for number in range(35):
                await hers.send(str(number))
            report = await bob.sync()
            assert report.messages == 35
            assert texts(await his.history()) == [str(number) for number in range(35)]

    asyncio.run(scene())


def test_a_listener_gets_what_comes_live_and_what_it_missed(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            await hers.send("missed")
            async with aclosing(his.listen()) as heard:
                assert (await anext(heard)).text == "missed"
                await hers.send("live")
                assert (await anext(heard)).text == "live"

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_listener_outlives_a_server_that_is_away_for_a_while(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            await hers.send("missed")
            stage.server.lose["getMessages"] = 10
            async with aclosing(his.listen()) as heard:
                assert (await anext(heard)).text == "missed"

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_bytes_that_cannot_be_read_are_recorded_and_block_nothing(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            stage.server.convos[hers.id].append("app", b"garbage", hers.epoch, "bad")
            await hers.send("good")
            await his.sync()
            assert [(m.kind, m.text) for m in await his.history()] == [
                ("undecryptable", None),
                ("text", "good"),
            ]

    asyncio.run(scene())


def test_a_commit_disguised_as_a_message_moves_nothing(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            epoch = his.epoch
            bundle = hers._session.scratch_group(hers.id).commit(update=True)
            stage.server.convos[hers.id].append("app", bundle.commit, epoch, "sly")
            await his.sync()
            assert (his.epoch, [m.kind for m in await his.history()]) == (epoch, ["undecryptable"])

    asyncio.run(scene())


def test_a_message_found_in_the_log_is_not_sent_again(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, _, hers, his = await lunch(stage)
            stage.server.lose["sendMessage"] = 4
            with pytest.raises(Unavailable):
                await hers.send("once")
            stage.server.convos[hers.id].replies.clear()
            await his.renew()
            await phone.sync()
            await his.sync()
            assert texts(await his.history()) == texts(await hers.history()) == ["once"]
            assert [view["messageType"] for view in stage.server.convos[hers.id].log].count("app") == 1

    asyncio.run(scene())


def test_a_message_that_came_just_before_the_own_commit_is_read(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, _, hers, his = await lunch(stage)
            stage.server.before["addMembers"] = lambda: his.send("just before")
            await hers.renew()
            await hers.sync()
            assert texts(await hers.history()) == ["just before"]

    asyncio.run(scene())


def test_places_that_stay_empty_are_passed_over(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            for number in range(25):
                await hers.send(str(number))
            stage.server.convos[hers.id].deleted.update({2, 3, 4, 15, 16})
            report = await bob.sync()
            assert report.failed == {}
            assert texts(await his.history()) == [str(n) for n in range(25) if n + 2 not in {2, 3, 4, 15, 16}]
            await his.send("still in")
            await hers.sync()
            assert (await hers.history())[-1].text == "still in"

    asyncio.run(scene())


def test_a_missing_commit_is_noticed_and_the_device_comes_back(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            _, bob, hers, his = await lunch(stage)
            await hers.send("before")
            await hers.renew()
            await hers.renew()
            stage.server.convos[hers.id].deleted.add(3)
            report = await bob.sync()
            assert (report.rejoined, report.failed, his.state) == ([hers.id], {}, State.OK)
            await hers.send("after")
            await his.sync()
            assert texts(await his.history()) == ["before", "after"]

    asyncio.run(scene())


def test_listening_to_all_includes_convos_joined_meanwhile(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone, bob, hers, _ = await lunch(stage)
            await hers.send("missed")
            async with aclosing(bob.listen()) as heard:
                assert (await anext(heard)).text == "missed"
                dinner = await phone.create("Dinner", [BOB])
                await dinner.send("in the new one")
                await hers.send("in the old one")
                found = {(m.convo_id, m.text) for m in [await anext(heard), await anext(heard)]}
            assert found == {(dinner.id, "in the new one"), (hers.id, "in the old one")}
            assert bob.session.store.cursor("*") is not None

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_convo_whose_creation_was_not_answered_is_announced_again(cast: Stage) -> None:
    async def scene() -> None:
        async with cast() as stage:
            phone = await stage.device(ALICE, "phone")
            stage.server.lose["createConvo"] = 4
            with pytest.raises(Unavailable):
                await phone.create("Lunch", [])
            (convo,) = await phone.conversations()
            assert convo.state is State.CREATING
            await phone.sync()
            assert (convo.state, convo.name) == (State.OK, "Lunch")
            await convo.send("to myself")

    asyncio.run(scene())
