"""A nudge without content, to devices that something waits for and that have no stream open."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from threading import Lock, Thread

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from catbird_mls.xrpc.meters import PushOutcome, PushProvider, count_push
from delivery import nudges
from delivery.apns import Apns, ApnsConfig
from delivery.fcm import Fcm, FcmConfig
from delivery.models import Nudge, Platform, PushToken
from delivery.presence import Device, believed, connected
from delivery.providers import Outcome, Provider

logger = logging.getLogger(__name__)

BATCH = 100
PASS_SECONDS = 30.0
ATTEMPTS_MAX = 8
FIRST_PAUSE = timedelta(seconds=5)
PAUSE_FACTOR = 4
LONGEST_PAUSE = timedelta(hours=1)
UNFINISHED = "no worker has finished it"

# Where a worker has several threads, all of them share one loop and one connection.
_making = Lock()


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one push to one token."""

    token: PushToken
    provider: PushProvider
    outcome: Outcome


def push_due() -> int:
    """Work off the nudges that are due, for a while, and say how many there were.

    Any number of workers may do so at once. What one of them leaves unsettled is due again after its claim.
    """
    done, began = 0, time.monotonic()
    while time.monotonic() - began < PASS_SECONDS and (batch := nudges.claim_nudges(BATCH)):
        _work_off(batch)
        done += len(batch)
    return done


def pause_after(attempts: int) -> timedelta:
    """How long to leave a provider alone that did not take a push."""
    factor: int = PAUSE_FACTOR ** max(0, attempts - 1)
    return min(FIRST_PAUSE * factor, LONGEST_PAUSE)


def _work_off(batch: Sequence[Nudge]) -> None:
    with _making:
        providers = {platform: provider_of(platform) for platform in settings.PUSH_PLATFORMS}
        loop = _loop()
    tokens = nudges.tokens_of(batch)
    under_way = {
        asyncio.run_coroutine_threadsafe(_send(providers, nudge, tokens.get(_device(nudge), [])), loop): nudge
        for nudge in _worth_a_push(batch)
    }
    waiting = set(under_way)
    while waiting:
        # At once, because a device may answer before the last of the batch is sent; together, to share a commit.
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        with transaction.atomic(durable=True):
            # In the order in which the fan-out takes them.
            for sent in sorted(done, key=lambda one: _device(under_way[one])):
                _settle(under_way[sent], sent.result())


def _worth_a_push(batch: Sequence[Nudge]) -> Iterator[Nudge]:
    """Those that something waits for and that are not connected; the others are settled.

    A stream that is found open twice, with a time in between after which a dead one is known to be dead, was
    alive the first time, and has told of what had come by then.
    """
    newest, here = nudges.newest_waiting(batch), connected({_device(nudge) for nudge in batch})
    for nudge in batch:
        is_here, came_at = _device(nudge) in here, newest.get(nudge.pk)
        streamed = is_here and nudge.connected_at is not None
        told_at = nudge.connected_at if streamed else nudge.sent_at
        has_news = came_at is not None and (told_at is None or came_at > told_at)
        if not has_news and (streamed or not nudge.asked):
            nudges.settle_told(nudge, told_at=told_at)
        elif is_here:
            nudges.settle_connected(nudge, pause=believed())
        elif nudge.attempts > ATTEMPTS_MAX:
            nudges.settle_given_up(nudge, cause=nudge.cause or UNFINISHED)
        else:
            yield nudge


async def _send(providers: Mapping[str, Provider], nudge: Nudge, tokens: Sequence[PushToken]) -> list[Sent]:
    """To every token of the device."""
    sent = []
    for token in tokens:
        provider = providers[token.platform]
        outcome = await provider.send(bytes(token.token).decode(), quiet=nudge.quiet)
        sent.append(Sent(token, provider.name, outcome))
    return sent


def _settle(nudge: Nudge, sent: Sequence[Sent]) -> None:
    """One push that was taken is enough; without any, those that may yet be taken decide."""
    kinds = {one.outcome.kind for one in sent}
    again = "retry" in kinds and "sent" not in kinds and nudge.attempts < ATTEMPTS_MAX
    for one in sent:
        _note(one, again=again)
    cause = ", ".join(sorted({f"{one.provider}: {one.outcome.cause}" for one in sent if one.outcome.cause}))
    if "sent" in kinds:
        nudges.settle_sent(nudge)
    elif again:
        asked = timedelta(seconds=max(one.outcome.pause_seconds for one in sent))
        nudges.settle_failed(nudge, cause=cause, pause=min(max(pause_after(nudge.attempts), asked), LONGEST_PAUSE))
    elif kinds <= {"gone"}:
        nudges.settle_unreachable(nudge)
    else:
        nudges.settle_given_up(nudge, cause=cause)


def _note(sent: Sent, *, again: bool) -> None:
    """The token remembers what became of its last push. One that leads nowhere goes, unless it has been renewed."""
    kind, cause = sent.outcome.kind, sent.outcome.cause
    word: PushOutcome = "sent" if kind == "sent" else "gone" if kind == "gone" else "retried" if again else "given_up"
    count_push(sent.provider, word)
    row = PushToken.objects.filter(pk=sent.token.pk, token=sent.token.token)
    if kind == "gone":
        row.delete()
    else:
        row.update(pushed_at=Now(), outcome=cause or kind)
    if kind != "sent":
        logger.warning(
            "push not sent provider=%s outcome=%s cause=%s token=%s", sent.provider, word, cause, sent.token.fingerprint
        )


def provider_of(platform: str) -> Provider:
    """The same one every time, because its connection stays open."""
    if platform == Platform.IOS:
        return _apns(
            ApnsConfig(
                url=settings.CATBIRD_APNS_URL,
                key_file=settings.CATBIRD_APNS_KEY_FILE,
                key_id=settings.CATBIRD_APNS_KEY_ID,
                team_id=settings.CATBIRD_APNS_TEAM_ID,
                topic=settings.CATBIRD_APNS_TOPIC,
            )
        )
    return _fcm(FcmConfig(settings.CATBIRD_FCM_URL, settings.CATBIRD_FCM_SERVICE_ACCOUNT_FILE))


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    """Where the connections live, in a thread that never touches the database."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="push", daemon=True).start()
    return loop


@lru_cache(maxsize=1)
def _apns(config: ApnsConfig) -> Apns:
    return Apns(config)


@lru_cache(maxsize=1)
def _fcm(config: FcmConfig) -> Fcm:
    return Fcm(config)


def _device(nudge: Nudge) -> Device:
    return nudge.did, nudge.device_id
