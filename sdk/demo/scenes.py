"""What the demo shows, one function a step. The docstring is the step's name, the result what was checked."""

import asyncio
import time
from contextlib import aclosing

from openmls import MlsError
from openmls.client import Client as Engine
from stage import ALICE, BOB, CAROL, Gate, Stage, Step, check, check_equal, refusal

from catbird import State, packages
from catbird.wire import entry


async def registration(stage: Stage) -> str:
    """Four devices register and publish key packages."""
    stage.phone, stage.laptop = (
        await stage.device(ALICE, "alice-phone"),
        await stage.device(ALICE, "alice-laptop"),
    )
    stage.bob, stage.carol = await stage.device(BOB, "bob-phone"), await stage.device(CAROL, "carol-phone")
    devices = [stage.phone, stage.laptop, stage.bob, stage.carol]
    for device in devices:
        await device.register(device.did.rpartition(":")[2])
        listed = {known.id: known.key_packages for known in await device.devices()}
        check_equal(listed.get(device.device_id), packages.TARGET, "packages the server has of a device")
    check_equal(len({device.device_id for device in devices}), 4, "different device ids")
    return f"4 device ids, {packages.TARGET} packages each"


async def creation(stage: Stage) -> str:
    """Alice creates a convo with Bob's phone and her own laptop."""
    convo = await stage.phone.create("Lunch", [BOB])
    stage.convo_id = convo.id
    check_equal(sorted(member.did for member in convo.members), [ALICE, ALICE, BOB], "leaves of the tree")
    check_equal(await stage.phone.session.methods.get_epoch(convo.id), convo.epoch, "the server's epoch")
    return f"three leaves, epoch {convo.epoch} here and on the server"


async def new_package(stage: Stage) -> str:
    """Bob publishes new packages after he was added, and joins all the same."""
    published = await stage.bob.replenish(force=True)
    check(published > 0, "packages are published")
    check_equal((await stage.bob.sync()).joined, [stage.convo_id], "convos joined")
    check_equal(stage.authenticators(stage.phone, stage.bob), stage.authenticators(stage.phone), "same group")
    return f"{published} published, Welcome opened, same epoch secrets as Alice"


async def second_device(stage: Stage) -> str:
    """Alice's laptop finds its Welcome and joins."""
    check_equal((await stage.laptop.sync()).joined, [stage.convo_id], "convos joined")
    devices = (stage.phone, stage.laptop, stage.bob)
    check_equal(len(stage.authenticators(*devices)), 1, "one group on all devices")
    return "one group on three devices"


async def used_welcome(stage: Stage) -> str:
    """A Welcome that was used is not handed out again."""
    methods = stage.bob.session.methods
    answer = await refusal(methods.get_welcome(stage.convo_id, stage.bob.device_id))
    check_equal(answer, "410 WelcomeConsumed", "answer to the second fetch")
    return answer


async def messages(stage: Stage) -> str:
    """Messages go both ways and are read on every device."""
    await stage.on(stage.phone).send("shall we?")
    await stage.on(stage.bob).send("at noon")
    await stage.on(stage.laptop).send("fine, says the laptop")
    expected = [(ALICE, "shall we?"), (BOB, "at noon"), (ALICE, "fine, says the laptop")]
    for device in (stage.phone, stage.laptop, stage.bob):
        report = await device.sync()
        check_equal(report.failed, {}, "convos that failed to sync")
        history = await stage.on(device).history()
        check_equal(
            [(message.sender, message.text) for message in history], expected, f"history of {device.did}"
        )
    return "3 messages, same order and senders on 3 devices"


async def live(stage: Stage) -> str:
    """A message arrives on a stream that is open."""
    bobs = stage.on(stage.bob)
    async with aclosing(bobs.listen()) as heard:
        waiting = asyncio.create_task(anext(heard))
        await asyncio.sleep(0.5)
        check(not waiting.done(), "nothing arrives before it is sent")
        begun = time.monotonic()
        await stage.on(stage.phone).send("live")
        message = await waiting
    check_equal((message.text, message.sender), ("live", ALICE), "the message heard")
    return f"read {1000 * (time.monotonic() - begun):.0f} ms after sending began"


async def race(stage: Stage) -> str:
    """Two devices commit for the same epoch; one wins, the other tries again."""
    phone, laptop, gate = stage.on(stage.phone), stage.on(stage.laptop), Gate()
    await laptop.sync()
    before = phone.epoch
    originals = [device.session.methods.repeat for device in (stage.phone, stage.laptop)]
    for device in (stage.phone, stage.laptop):
        gate.guard(device.session.methods)
    await asyncio.gather(phone.renew(), laptop.renew())
    for device, original in zip((stage.phone, stage.laptop), originals, strict=True):
        device.session.methods.repeat = original  # type: ignore[method-assign] # as it was before the race
    check_equal(dict(gate.refused), {"EpochMismatch": 1}, "refusals")
    for convo in (phone, laptop, stage.on(stage.bob)):
        await convo.sync()
        check_equal(convo.epoch, before + 2, "epoch after both commits")
    check_equal(
        len(stage.authenticators(stage.phone, stage.laptop, stage.bob)), 1, "one group after the race"
    )
    return f"one refused with EpochMismatch, epoch {before} to {before + 2}, still one group"


async def newcomer(stage: Stage) -> str:
    """Carol is added, and reads what follows but not what was before."""
    await stage.on(stage.phone).add(CAROL)
    check_equal((await stage.carol.sync()).joined, [stage.convo_id], "convos joined")
    await stage.on(stage.phone).send("hello Carol")
    await stage.carol.sync()
    history = await stage.on(stage.carol).history()
    check_equal([message.text for message in history], ["hello Carol"], "what Carol has read")
    await stage.on(stage.carol).send("hello all")
    await stage.bob.sync()
    latest = (await stage.on(stage.bob).history())[-1]
    check_equal((latest.sender, latest.text), (CAROL, "hello all"), "what Bob has read last")
    return "1 message read, none from before"


async def removal(stage: Stage) -> str:
    """Carol is removed: the server refuses her device, and her keys do not open what follows."""
    kept = Engine.load(stage.carol.session.store.engine())
    await stage.on(stage.phone).remove(CAROL)
    secret = await stage.on(stage.phone).send("between us")
    methods, carol_id = stage.carol.session.methods, stage.carol.device_id
    last = secret.seq - 1  # Of her removal, which she may still read, as all that was before.
    answer = await refusal(methods.get_messages(stage.convo_id, carol_id, since_seq=last))
    check_equal(answer, "403 NotMember", "answer to Carol")
    readable = (await methods.get_messages(stage.convo_id, carol_id, since_seq=0))["messages"]
    check(all(view["seq"] <= last for view in readable), "nothing after her removal is handed to Carol")
    page = await stage.bob.session.methods.get_messages(stage.convo_id, stage.bob.device_id, since_seq=last)
    check_equal(_opens(kept, stage.convo_id, page["messages"][0]), "", "what Carol's kept keys open")
    await stage.bob.sync()
    check_equal((await stage.on(stage.bob).history())[-1].text, "between us", "what Bob has read last")
    await stage.carol.sync()
    check_equal(stage.on(stage.carol).state, State.GONE, "state of the convo on Carol's device")
    return f"{answer}; with the keys she kept the bytes stay closed; Bob reads them"


def _opens(engine: Engine, convo_id: str, view: dict[str, object]) -> str:
    """What these keys read in an entry of the log; empty when it stays closed."""
    try:
        processed = engine.group(bytes.fromhex(convo_id)).process(entry(view).data)
    except MlsError:
        return ""
    return processed.kind


async def leaving(stage: Stage) -> str:
    """Bob leaves, and a member that stays commits his removal."""
    await stage.on(stage.bob).leave()
    check_equal(stage.on(stage.bob).state, State.GONE, "state of the convo on Bob's device")
    answer = await refusal(stage.bob.session.methods.get_epoch(stage.convo_id))
    check_equal(answer, "403 NotMember", "answer to Bob")
    before = stage.on(stage.phone).epoch
    await asyncio.gather(stage.phone.sync(), stage.laptop.sync())
    await stage.laptop.sync()
    for device in (stage.phone, stage.laptop):
        check_equal([member.did for member in stage.on(device).members], [ALICE, ALICE], "leaves of the tree")
        check_equal(stage.on(device).epoch, before + 1, "epoch")
    await stage.on(stage.laptop).send("only us")
    await stage.phone.sync()
    check_equal((await stage.on(stage.phone).history())[-1].text, "only us", "what the phone has read last")
    return f"{answer} for Bob at once, one commit to epoch {before + 1}, two leaves remain"


async def recovery(stage: Stage) -> str:
    """Alice's laptop loses all it had, comes back by itself, and what it was is cleared away."""
    old = stage.laptop.device_id
    await stage.laptop.close()
    stage.laptop = await stage.device(ALICE, "alice-laptop-with-an-empty-disk")
    await stage.laptop.register("laptop")
    begun = time.monotonic()
    check_equal((await stage.laptop.sync()).rejoined, [stage.convo_id], "convos come back into")
    took = time.monotonic() - begun
    await stage.laptop.delete_device(old)
    await stage.phone.sync()
    check_equal(len(stage.on(stage.phone).members), 2, "leaves, without the one of the lost laptop")
    await stage.on(stage.phone).send("you again")
    await stage.laptop.sync()
    check_equal(
        [message.text for message in await stage.on(stage.laptop).history()], ["you again"], "what it reads"
    )
    check_equal(len(stage.authenticators(stage.phone, stage.laptop)), 1, "one group on both devices")
    return f"in again after {1000 * took:.0f} ms; the server proposed to remove the old leaf, the phone did"


async def one_order(stage: Stage) -> str:
    """The log has every place once, and one commit an epoch."""
    page = await stage.phone.session.methods.get_messages(stage.convo_id, stage.phone.device_id, since_seq=0)
    entries = page["messages"]
    check_equal([entry["seq"] for entry in entries], list(range(1, len(entries) + 1)), "places in the log")
    epochs = [entry["epoch"] for entry in entries if entry["messageType"] == "commit"]
    check_equal(epochs, list(range(1, len(epochs) + 1)), "epochs of the commits")
    return f"places 1 to {len(entries)}, {len(epochs)} commits for {len(epochs)} epochs"


STEPS: list[Step] = [
    registration, creation, new_package, second_device, used_welcome, messages, live, race, newcomer, removal,
    leaving, recovery, one_order,
]  # fmt: skip
