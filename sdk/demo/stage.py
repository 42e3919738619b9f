"""The demo's people and their devices, and what a step needs to show and to check."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from server import SERVICE_DID, Server

from catbird import Client, Conversation, DevAuth, XrpcError
from catbird.methods import Methods

ALICE = "did:plc:alicealicealicealicealic"
BOB = "did:plc:bobbobbobbobbobbobbobbob"
CAROL = "did:plc:carolcarolcarolcarolcaro"
STEP_SECONDS = 30


class CheckFailed(Exception):
    """Something is not as it must be."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise CheckFailed(what)


def check_equal(found: object, expected: object, what: str) -> None:
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Stage:
    """Four devices of three people. Each has a file of its own, as if it were on a machine of its own."""

    phone: Client
    laptop: Client
    bob: Client
    carol: Client
    convo_id: str

    def __init__(self, server: Server, folder: Path, stack: AsyncExitStack) -> None:
        self._server = server
        self._folder = folder
        self._stack = stack

    async def device(self, did: str, name: str) -> Client:
        auth = DevAuth(did, self._server.secret, SERVICE_DID)
        client = Client(self._folder / f"{name}.db", self._server.url, auth)
        return await self._stack.enter_async_context(client)

    def on(self, device: Client) -> Conversation:
        return device.conversation(self.convo_id)

    def authenticators(self, *devices: Client) -> set[bytes]:
        """One value when all are in the same epoch of the same group, and only then."""
        return {device.session.group(self.convo_id).epoch_authenticator() for device in devices}


async def refusal(call: Awaitable[Any]) -> str:
    """How the server refuses a call: status and name."""
    try:
        await call
    except XrpcError as error:
        return f"{error.status} {error.name}"
    return "not refused"


class Gate:
    """Holds back the first request of two devices until both have theirs ready, and counts refusals."""

    def __init__(self) -> None:
        self._barrier = asyncio.Barrier(2)
        self.refused: Counter[str] = Counter()

    def guard(self, methods: Methods) -> None:
        repeat, waiting = methods.repeat, [True]

        async def held(method: str, body: Any) -> Any:
            if waiting:
                waiting.clear()
                await self._barrier.wait()
            try:
                return await repeat(method, body)
            except XrpcError as error:
                self.refused[error.name] += 1
                raise

        methods.repeat = held  # type: ignore[method-assign] # put in place for one race


Step = Callable[[Stage], Awaitable[str]]


async def play(stage: Stage, steps: list[Step]) -> None:
    """Run the steps in order; each returns what it has checked, in words."""
    for number, step in enumerate(steps, 1):
        title = (step.__doc__ or step.__name__).strip().rstrip(".")
        begun = time.monotonic()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                checked = await step(stage)
        except Exception as error:
            raise StepFailed(number, title) from error
        say(f"{number:2} \N{CHECK MARK} {title}: {checked} ({time.monotonic() - begun:.2f} s)")


class StepFailed(Exception):
    def __init__(self, number: int, title: str) -> None:
        super().__init__(f"step {number}, {title}")
