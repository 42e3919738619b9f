"""What answers in the event loop of a web process: the sequencer, and reads that share a statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django.conf import settings

from catbird_mls.xrpc.errors import NotMember
from catbird_mls.xrpc.pool import AsyncPool, new_pool
from catbird_mls.xrpc.together import Together
from conversations.errors import ConvoNotFound
from conversations.sequencer import Sequencer

EPOCHS = """
SELECT c.epoch,
       EXISTS (SELECT 1 FROM conversations_member m
                WHERE m.convo_id = a.convo_id AND m.did = a.did AND m.left_at IS NULL AND m.leaving_at IS NULL),
       c.closed_at IS NOT NULL AND EXISTS (
           SELECT 1 FROM conversations_member m WHERE m.convo_id = a.convo_id AND m.did = a.did)
  FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS a (convo_id, did, place)
  LEFT JOIN conversations_convo c ON c.id = a.convo_id
 ORDER BY a.place
"""
P = TypeVar("P", covariant=True)
EpochAsked = tuple[str, str]
EpochFound = tuple[int, bool, bool]


class Asked(Protocol[P]):
    """A page of something, and the statement that reads it."""

    @property
    def statement(self) -> str: ...

    def values(self) -> dict[str, Any]: ...

    def page(self, rows: Sequence[Sequence[Any]]) -> P | None: ...


@dataclass(slots=True)
class Desk:
    """Belongs to one event loop and lives as long as it does."""

    pool: AsyncPool
    sequencer: Sequencer
    epochs: Together[EpochAsked, EpochFound]

    async def current_epoch(self, *, convo_id: str, did: str) -> int:
        """The same as ``selectors.current_epoch`` for an account."""
        epoch, is_member, has_ended = await self.epochs.ask((convo_id, did))
        if not is_member:
            raise ConvoNotFound("The conversation has ended.") if has_ended else NotMember
        return epoch

    async def read(self, asked: Asked[P]) -> P | None:
        """The page asked for by one statement; None for a stranger."""
        async with self.pool.connection() as held:
            cursor = await held.execute(asked.statement, asked.values(), binary=True)
            return asked.page(await cursor.fetchall())


async def open_desk() -> Desk:
    """For the running event loop."""
    pool = new_pool()
    await pool.open()
    return desk_on(pool, batched=settings.ENABLE_ACTOR_SYSTEM)


def desk_on(pool: AsyncPool, *, batched: bool) -> Desk:
    async def read_epochs(asked: Sequence[EpochAsked]) -> Sequence[EpochFound]:
        async with pool.connection() as held:
            cursor = await held.execute(EPOCHS, [[one for one, _ in asked], [did for _, did in asked]])
            found: list[EpochFound] = await cursor.fetchall()
        return found

    return Desk(pool=pool, sequencer=Sequencer(pool, batched=batched), epochs=Together(read_epochs))
