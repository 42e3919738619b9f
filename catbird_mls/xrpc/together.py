"""Reads of one moment share a statement: what is asked while one runs is the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
F = TypeVar("F")

TOGETHER_MAX = 256


class Together(Generic[A, F]):
    """Answers many questions of one event loop by one call; each is read after it was asked, never before."""

    def __init__(self, read: Callable[[Sequence[A]], Awaitable[Sequence[F]]]) -> None:
        self._read = read
        self._waiting: deque[tuple[A, asyncio.Future[F]]] = deque()
        self._reader: asyncio.Task[None] | None = None

    async def ask(self, question: A) -> F:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[F] = loop.create_future()
        self._waiting.append((question, answer))
        if self._reader is None or self._reader.done():
            self._reader = loop.create_task(self._read_all())
        return await answer

    async def _read_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER_MAX))]
            try:
                found = await self._read([question for question, _ in batch])
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for (_, answer), one in zip(batch, found, strict=True):
                    if not answer.done():
                        answer.set_result(one)
