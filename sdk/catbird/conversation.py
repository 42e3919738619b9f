from collections.abc import AsyncGenerator
from dataclasses import dataclass

from catbird import membership, sending
from catbird.catchup import catch_up
from catbird.errors import ConvoInactive
from catbird.listening import listen
from catbird.payload import text_payload
from catbird.recovery import expect
from catbird.rows import Message, State
from catbird.session import Session

TEXT_MAX_CHARACTERS = 10_000
ADD_AT_ONCE = 50


@dataclass(frozen=True)
class Member:
    """One device in a convo, as its leaf in the group's tree names it."""

    did: str
    leaf_index: int
    signature_key: bytes
    is_me: bool


class Conversation:
    """One convo on one device. Two objects of the same convo are the same convo."""

    def __init__(self, session: Session, convo_id: str) -> None:
        self._session = session
        self.id = convo_id

    def __repr__(self) -> str:
        return f"<Conversation {self.id} {self.state}, epoch {self.epoch}, seq {self.seq}>"

    @property
    def name(self) -> str:
        return self._session.convo(self.id).name

    @property
    def state(self) -> State:
        return self._session.convo(self.id).state

    @property
    def epoch(self) -> int:
        return self._session.convo(self.id).epoch

    @property
    def seq(self) -> int:
        """The last place of the log that this device has applied; 0 before the first."""
        return self._session.convo(self.id).seq or 0

    @property
    def members(self) -> list[Member]:
        """Who is in, by leaf; empty once this device is out."""
        if self.state not in (State.CREATING, State.OK):
            return []
        group = self._session.group(self.id)
        return [
            Member((leaf.identity or b"").decode(errors="replace"), leaf.leaf_index, leaf.signature_key,
                   leaf.leaf_index == group.own_leaf)
            for leaf in group.members()
        ]  # fmt: skip

    async def send(self, text: str) -> Message:
        """Send a text to everybody in the convo.

        When no answer comes (``Unavailable``, ``RateLimited``, ``CommitLost``), or this device has lost the
        group (``ConvoInactive`` with state LOST or WAITING), the message is kept and goes out with the next
        send or sync, under the same id, so that nobody reads it twice.
        """
        if len(text) > TEXT_MAX_CHARACTERS:
            raise ValueError(f"a text has at most {TEXT_MAX_CHARACTERS} characters")
        async with self._session.lock(self.id):
            return await sending.send(self._session, self.id, text_payload(text))

    async def add(self, *dids: str) -> int:
        """Let in all devices of these accounts; returns the epoch that has them."""
        async with self._session.lock(self.id):
            epoch = self._session.require_active(self.id).epoch
            for first in range(0, len(dids), ADD_AT_ONCE):
                epoch = await membership.add(self._session, self.id, dids[first : first + ADD_AT_ONCE])
            return epoch

    async def remove(self, did: str) -> int:
        """Put out all devices of an account; returns the epoch that is without them."""
        if did == self._session.did:
            raise ConvoInactive("an account does not remove itself; leave() is for that")
        async with self._session.lock(self.id):
            return await membership.remove(self._session, self.id, did)

    async def renew(self) -> int:
        """Replace this device's keys in the group; returns the epoch that has the new ones."""
        async with self._session.lock(self.id):
            return await membership.renew(self._session, self.id)

    async def leave(self) -> None:
        """Go, with this device alone. What was read stays readable here."""
        async with self._session.lock(self.id):
            await membership.leave(self._session, self.id)

    async def rejoin(self) -> State:
        """Come back in, also after having left; says where this device stands then."""
        async with self._session.lock(self.id):
            if self.state is not State.OK:
                expect(self._session, self.id, self.name)
        await catch_up(self._session, self.id)
        return self.state

    async def sync(self) -> None:
        """Send what waits, read the log to its end; a convo this device has lost is come back into."""
        await catch_up(self._session, self.id)

    async def history(self, *, since: int = 0, limit: int = 100) -> list[Message]:
        """Messages behind place ``since`` as they are stored on this device, oldest first."""
        return self._session.store.messages(self.id, after=since, up_to=None, limit=limit)

    def listen(self, *, since: int | None = None) -> AsyncGenerator[Message, None]:
        """Messages as they come, own ones too, behind ``since`` or else behind what is read already."""
        return listen(self._session, self.id, since)
