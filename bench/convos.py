"""Convos through the services, on a real database."""

import time
from collections.abc import Sequence
from functools import partial
from statistics import mean, median
from uuid import uuid4

from django.test import override_settings
from django.utils import timezone

from bench.groups import COMMIT_CPU_MS, COMMITTERS
from bench.rows import Figure, cpu_ms, percentile, row, timed, wall_ms
from conversations.selectors import Asking
from conversations.services import add_members, append_message, process_external_commit, read_group_info
from keypackages.models import State, Welcome
from keypackages.services import register_device
from tests.devices import Phone
from tests.races.storms import a_gathering, come_back_until_in, commit_until_in, losing_state
from tests.races.threads import at_once, failures, succeeded
from tests.situations import Talk, a_convo, bundle_of, join

CROWD = 100
REPEATS = 15
LARGE_COMMIT_MS = 400.0


def someone() -> Phone:
    return Phone(f"did:plc:{uuid4().hex[:24]}")


def published(phone: Phone) -> bytes:
    """The phone's device, registered with one package."""
    (item,) = phone.items(1)
    device = register_device(
        did=phone.did,
        name=phone.name,
        device_uuid=phone.uuid,
        signature_key=phone.signature_key,
        key_packages=[item],
    )
    phone.device_id = device.pk
    package = item["key_package"]
    assert isinstance(package, bytes)
    return package


def a_large_convo(size: int) -> tuple[Talk, Phone, dict[str, float]]:
    """Founded by one, joined by all in one commit, its tree filled by members that come in again; how long each took.

    Told with the one that came in last, which knows the newest epoch.
    """
    phones = [someone() for _ in range(size - 1)]
    packages: list[bytes] = []
    took = {"devices registered": wall_ms(lambda: packages.extend(published(phone) for phone in phones))}
    talk = a_convo(someone())
    founder = talk.founder
    made = []
    took["commit made by the founder"] = wall_ms(lambda: made.append(founder.group(talk.id).commit(add=packages)))
    add = partial(add_members, convo_id=talk.id, who=Asking(founder.did), dids=[], bundle=bundle_of(made[0]), key=None)
    took["commit of all Adds taken"] = wall_ms(add)
    founder.group(talk.id).confirm()
    # The founder stays behind; whoever comes in last goes on.
    took["device joined by its Welcome"] = wall_ms(lambda: join(talk, phones[-1]))
    committers = phones[:: max(1, size // COMMITTERS)]
    entries = [come_in(talk, phone) for phone in committers]
    took["external commit made by the device"] = median(made_ms for made_ms, _ in entries)
    took["external commit taken"] = median(taken_ms for _, taken_ms in entries)
    return talk, committers[-1], took


def come_in(talk: Talk, phone: Phone) -> tuple[float, float]:
    who, made = Asking(phone.did, phone.device_id), []
    door = read_group_info(convo_id=talk.id, who=who)
    making = wall_ms(lambda: made.append(phone.client.join_external(door.group_info, door.ratchet_tree)[1]))
    take = partial(process_external_commit, convo_id=talk.id, who=who, bundle=bundle_of(made[0]), key=None)
    return making, wall_ms(take)


def renewals(talk: Talk, phone: Phone, times: int) -> tuple[float, float]:
    """Commits of one device, one after the other: wall and processor time of the whole service call, median."""
    walls, cpus = [], []
    for _ in range(times):
        made = bundle_of(phone.group(talk.id).commit(update=True))
        take = partial(add_members, convo_id=talk.id, who=Asking(phone.did), dids=[], bundle=made, key=None)
        began = time.perf_counter()
        cpus.append(cpu_ms(take, times=1))
        walls.append((time.perf_counter() - began) * 1000)
        phone.group(talk.id).confirm()
    return median(walls), median(cpus)


def settle_welcomes(talk: Talk) -> None:
    """As after every device has joined; doing that one by one would take longer than all the rest."""
    Welcome.objects.filter(convo_id=talk.id).update(state=State.CONFIRMED, ended_at=timezone.now())


@row("commit-1000")
def commit_1000() -> list[Figure]:
    """a verified commit in a convo of 1000 devices: the whole service call, all writes included"""
    talk, phone, _ = a_large_convo(1000)
    waiting, _ = renewals(talk, phone, REPEATS)
    settle_welcomes(talk)
    wall, cpu = renewals(talk, phone, REPEATS)
    return [
        Figure("service call, wall", wall, "ms", 4 * COMMIT_CPU_MS),
        Figure("service call, processor time of this process", cpu, "ms CPU"),
        Figure("service call, wall, while nearly every Welcome still waits", waiting, "ms"),
    ]


@row("external-1-convo")
def external_1_convo() -> list[Figure]:
    """100 devices come back at once into one convo, each as often as it takes"""
    with override_settings(RATE_LIMIT_EXTERNAL_COMMIT=10 * CROWD):
        talk = a_gathering(CROWD + 1)
        phones = talk.phones[1:]
        losing_state(talk, *phones)
        epoch = talk.convo.epoch
        figures = crowd([partial(come_back_until_in, talk, phone) for phone in phones])
        return [*figures, Figure("epochs gone by", talk.convo.epoch - epoch, "")]


@row("commit-storm")
def commit_storm() -> list[Figure]:
    """100 devices of one convo commit on one epoch, and each goes on from its refusal until it is in"""
    talk = a_gathering(CROWD)
    epoch = talk.convo.epoch
    figures = crowd([partial(commit_until_in, talk, phone) for phone in talk.phones])
    return [*figures, Figure("epochs gone by", talk.convo.epoch - epoch, "")]


def crowd(works: Sequence[object]) -> list[Figure]:
    """All of it at once: how long each took, how long all, and where they count them how many tries."""
    noted, taken = timed(works)  # type: ignore[arg-type]
    began = time.perf_counter()
    results = at_once(noted)
    total = (time.perf_counter() - began) * 1000
    assert failures(results) == [], failures(results)
    figures = [
        Figure("succeeded", len(succeeded(results)), ""),
        Figure("all together", total, "ms"),
        Figure("each, median", median(taken), "ms"),
        Figure("each, p99", percentile(taken, 0.99), "ms"),
    ]
    tries = [result for result in succeeded(results) if isinstance(result, int)]
    if tries:
        figures += [Figure("tries, mean", mean(tries), ""), Figure("tries, most", max(tries), "")]
    return figures


@row("group-10000")
def group_10000() -> list[Figure]:
    """a convo of 10,000 devices: made, joined, used"""
    with override_settings(CATBIRD_MAX_MEMBERS=10_000):
        talk, phone, took = a_large_convo(10_000)
        waiting, _ = renewals(talk, phone, 3)
        settle_welcomes(talk)
        wall, cpu = renewals(talk, phone, 5)
        epoch = talk.convo.epoch
        send = partial(append_message, convo_id=talk.id, who=Asking(phone.did), epoch=epoch)
        sent = median(
            wall_ms(partial(send, msg_id=str(number), ciphertext=phone.group(talk.id).encrypt(b"hello")))
            for number in range(REPEATS)
        )
    return [
        *(Figure(what, value, "ms") for what, value in took.items()),
        Figure("commit taken: service call, wall", wall, "ms", LARGE_COMMIT_MS),
        Figure("commit taken: processor time of this process", cpu, "ms CPU"),
        Figure("commit taken, while nearly every Welcome still waits", waiting, "ms"),
        Figure("message taken: service call, wall", sent, "ms"),
    ]
