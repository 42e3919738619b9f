"""From a DID to the key its account signs with, by did:plc and did:web.

Keys are kept in this process and on the bus. One that has been kept for a while serves on while it is asked for
again; one that a signature contradicts is asked for again at once, but seldom.
"""

import asyncio
import contextlib
import re
import time
from concurrent.futures import Future
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock, Thread

import orjson
from django.conf import settings

from catbird_mls.xrpc import bus
from catbird_mls.xrpc.fetching import PATIENCE_SECONDS, Missing, Unreachable, fetch_from_directory, fetch_from_stranger
from catbird_mls.xrpc.keys import SigningKey, parse_text, signing_key
from catbird_mls.xrpc.windows import Bucket, Windows

KEPT_MAX = 20_000
STALE_SECONDS = 3600
MISSING_SECONDS = 60
UNREACHABLE_SECONDS = 5
DOUBT_SECONDS = 60
# Callers that may wait for the network at once: each holds a thread, and some hosts are slow on purpose.
PLC_WAITERS, WEB_WAITERS = 12, 4

PLC = re.compile(r"did:plc:[a-z2-7]{24}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
WEB = re.compile(rf"did:web:({_LABEL}(?:\.{_LABEL})*(?:%3A[0-9]{{1,5}})?)((?::[A-Za-z0-9_-][A-Za-z0-9._-]*)*)")

Refusal = type[Missing] | type[Unreachable]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found, when, and when to look again; in seconds since 1970."""

    found: SigningKey | Refusal
    at: float
    again_at: float

    def key(self) -> SigningKey:
        if isinstance(self.found, SigningKey):
            return self.found
        raise self.found

    @property
    def serves(self) -> bool:
        """A key does for a while after it should have been looked at; a refusal does not."""
        now = time.time()
        return now < (self.at + STALE_SECONDS if isinstance(self.found, SigningKey) else self.again_at)


class Resolver:
    """Looks for each DID once at a time, in a thread of its own."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._under_way: dict[tuple[str, bool], asyncio.Task[Kept]] = {}
        self._doubts = Windows()
        self._gates = {"did:plc": BoundedSemaphore(PLC_WAITERS), "did:web": BoundedSemaphore(WEB_WAITERS)}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = Lock()

    def known_key(self, did: str) -> SigningKey | None:
        """The key if this process knows it, None if it would have to ask; what it found instead, if that is recent."""
        kept = self._kept.get(did)
        if kept is None or not kept.serves:
            return None
        if time.time() >= kept.again_at:
            self._start(did, fresh=False)
        return kept.key()

    def key(self, did: str) -> SigningKey:
        """The key, wherever that has to be asked for; ``Missing`` or ``Unreachable`` when there is none to be had."""
        return self.known_key(did) or self._wait(did, fresh=False)

    def key_in_doubt(self, did: str) -> SigningKey | None:
        """The key as it is now, for a signature that the known one does not fit; None when that was asked lately."""
        if not self._doubts.charge([Bucket(did, 1, DOUBT_SECONDS)]).allowed:
            return None
        with contextlib.suppress(Missing, Unreachable):
            return self._wait(did, fresh=True)
        return None

    def forget(self) -> None:
        self._kept.clear()
        self._doubts.clear()

    def _wait(self, did: str, *, fresh: bool) -> SigningKey:
        gate = self._gates.get(did[:7])
        if gate is None:
            raise Missing("no such method")
        if not gate.acquire(blocking=False):
            raise Unreachable("too many are waiting")
        try:
            return self._start(did, fresh=fresh).result(2 * PATIENCE_SECONDS).key()
        except TimeoutError:
            raise Unreachable("it takes too long") from None
        finally:
            gate.release()

    def _start(self, did: str, *, fresh: bool) -> "Future[Kept]":
        return asyncio.run_coroutine_threadsafe(self._once(did, fresh), self._running_loop())

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        # Made on first use, so that a forked process has one of its own.
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                Thread(target=self._loop.run_forever, name="resolver", daemon=True).start()
            return self._loop

    async def _once(self, did: str, fresh: bool) -> Kept:
        """Whoever asks for the same at the same time gets the same answer."""
        question = (did, fresh)
        task = self._under_way.get(question)
        if task is None:
            task = self._under_way[question] = asyncio.create_task(self._look_up(did, fresh=fresh))
            task.add_done_callback(lambda _: self._under_way.pop(question))
        return await asyncio.shield(task)

    async def _look_up(self, did: str, *, fresh: bool) -> Kept:
        earlier = self._kept.get(did)
        if not fresh:
            shared = await _shared(did)
            if shared is not None and time.time() < shared.again_at:
                return self._keep(did, shared)
            earlier = shared or earlier
        found = await _found(did)
        now = time.time()
        if found is Unreachable and earlier is not None and earlier.serves:
            return self._keep(did, Kept(earlier.found, earlier.at, now + UNREACHABLE_SECONDS))
        kept = self._keep(did, Kept(found, now, now + _seconds(found)))
        await _share(did, kept)
        return kept

    def _keep(self, did: str, kept: Kept) -> Kept:
        self._kept.pop(did, None)
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[did] = kept
        return kept


resolver = Resolver()


async def _found(did: str) -> SigningKey | Refusal:
    try:
        document = await _document(did)
        return signing_key(orjson.loads(document), did)
    except (Missing, ValueError):
        return Missing
    except Unreachable:
        return Unreachable


async def _document(did: str) -> bytes:
    if PLC.fullmatch(did):
        return await fetch_from_directory(f"{settings.CATBIRD_PLC_URL}/{did}")
    web = WEB.fullmatch(did)
    if web is None:
        raise Missing("not a DID that accounts have")
    host, path = web[1].replace("%3A", ":"), web[2].replace(":", "/") or "/.well-known"
    return await fetch_from_stranger(f"https://{host}{path}/did.json")


def _seconds(found: SigningKey | Refusal) -> int:
    if isinstance(found, SigningKey):
        return settings.CATBIRD_DID_CACHE_SECONDS
    return MISSING_SECONDS if found is Missing else UNREACHABLE_SECONDS


async def _shared(did: str) -> Kept | None:
    """What another process has found, or this one before it was restarted."""
    try:
        text = await bus.ask_soon("GET", _name(did))
        at, _, key = (text or b"").decode().partition(" ")
        return Kept(parse_text(key), float(at), float(at) + settings.CATBIRD_DID_CACHE_SECONDS)
    except (bus.BusDown, ValueError):
        return None


async def _share(did: str, kept: Kept) -> None:
    with contextlib.suppress(bus.BusDown):
        if isinstance(kept.found, SigningKey):
            await bus.ask_soon("SET", _name(did), f"{kept.at} {kept.found.text()}", "EX", STALE_SECONDS)
        elif kept.found is Missing:
            await bus.ask_soon("DEL", _name(did))


def _name(did: str) -> str:
    return f"catbird:did:{did}"
