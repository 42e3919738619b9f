"""The mirror of a convo's log on this device: in order, noticing what is missing, asking again.

Everything here expects the convo's lock to be held.
"""

import json
from dataclasses import dataclass, field

from openmls import MlsError
from openmls.client import Client as Engine
from openmls.delivery import peek

from catbird.errors import Gone, NotFound, NotMember
from catbird.order import Action, Position, action, next_run
from catbird.payload import BadPayload, read_payload
from catbird.rows import ConvoRow, Kind, Message, State
from catbird.session import Session
from catbird.wire import Entry, Json, entry

_CONTENT = {"app": "application", "commit": "commit", "proposal": "proposal"}


@dataclass
class Pulled:
    """What reading the log told of this device's own commits, by their outbox ids."""

    won: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)


async def pull(session: Session, convo_id: str) -> Pulled:
    """Read the log to its end and apply it. Doing so again changes nothing."""
    pulled = Pulled()
    hole: tuple[int, int] | None = None
    while (convo := session.convo(convo_id)).state is State.OK:
        page = await _page(session, convo)
        if page is None:
            break
        run = next_run(convo.seq, [entry(view) for view in page["messages"]])
        apply(session, convo, run.entries, pulled)
        if run.missing is None and not (run.entries and page.get("cursor")):
            break
        if run.missing is not None and run.missing == hole:
            _skip(session, convo_id, run.missing)
        hole = run.missing
    return pulled


async def receive(session: Session, received: Entry) -> Pulled:
    """Take an entry that came by a stream: at once when it is the next one, else by reading the log."""
    convo = session.store.convo(received.convo_id)
    if convo is None or convo.state is not State.OK:
        return Pulled()
    if convo.seq is None or received.seq > convo.seq + 1:
        return await pull(session, received.convo_id)
    pulled = Pulled()
    apply(session, convo, next_run(convo.seq, [received]).entries, pulled)
    return pulled


def apply(session: Session, convo: ConvoRow, entries: tuple[Entry, ...], pulled: Pulled) -> None:
    """Apply entries that follow one another, all in one step that a crash cannot divide."""
    if not entries:
        return
    result = Pulled()
    with session.change():
        mirror = _Mirror(session, convo, result)
        for received in entries:
            mirror.apply(received)
            if mirror.state is not State.OK:
                break
        mirror.save()
    pulled.won |= result.won
    pulled.lost |= result.lost


def close(session: Session, convo_id: str, state: State) -> None:
    """Stop acting in a convo; what was read stays.

    What is on its way stays too where this device may come back.
    """
    with session.store.transaction():
        session.store.set_state(convo_id, state)
        if state is State.GONE:
            session.store.drop_outbox(convo_id)


async def _page(session: Session, convo: ConvoRow) -> Json | None:
    """The next page of the log, or None when this device gets no further in it."""
    try:
        return await session.methods.get_messages(convo.id, session.device_id, since_seq=convo.seq or 0)
    except (NotMember, NotFound):
        # The group's secrets stay: that a server shuts the door proves no removal.
        close(session, convo.id, State.GONE)
    except Gone:
        # Commits this device has not seen are deleted: nothing in the log leads on from here.
        close(session, convo.id, State.LOST)
    return None


def _skip(session: Session, convo_id: str, missing: tuple[int, int]) -> None:
    """Go on behind places that stay empty when asked for twice: old messages are deleted in time.

    A commit among them does not go unnoticed, because the next one then leads to an epoch too far.
    """
    with session.store.transaction():
        session.store.set_position(convo_id, epoch=session.convo(convo_id).epoch, seq=missing[1])


def _require_content(received: Entry) -> None:
    """What the log calls a message must not be a commit that slips past the order of epochs."""
    content = peek(received.data).content_type
    if content != _CONTENT.get(received.kind):
        raise BadPayload(f"listed as {received.kind}, but its content is {content}")


class _Mirror:
    """A convo while a run of entries is applied to it."""

    def __init__(self, session: Session, convo: ConvoRow, result: Pulled) -> None:
        self._store = session.store
        self._engine = session.engine
        self._group = session.group(convo.id)
        self._convo = convo
        self._result = result
        self._seq = convo.seq
        self.state = convo.state
        outbox = session.store.outbox(convo.id)
        self._commit = next((row for row in outbox if row.kind is Kind.COMMIT), None)
        self._own_ids = session.store.own_ids(convo.id, after=convo.seq or 0)
        self._did = session.did

    def apply(self, received: Entry) -> None:
        position = Position(
            epoch=self._group.epoch,
            join_epoch=self._convo.join_epoch,
            own_ids=self._own_ids,
            pending_commit=self._commit.mls if self._commit else None,
        )
        match action(received, position):
            case Action.OWN_MESSAGE:
                self._own_message(received)
            case Action.CONFIRM:
                self._group.confirm()
                self._settle_commit(self._result.won)
            case Action.PROCESS:
                self._handshake(received)
            case Action.DECRYPT:
                self._message(received)
            case Action.LOST:
                self.state = State.LOST
            case Action.SKIP:
                pass
        if self.state is not State.LOST:
            self._seq = received.seq

    def save(self) -> None:
        self._store.set_position(self._convo.id, epoch=self._group.epoch, seq=self._seq)
        if self.state is not self._convo.state:
            self._store.set_state(self._convo.id, self.state)
        if self.state is State.GONE:
            self._store.drop_outbox(self._convo.id)
            self._engine.forget_group(self._convo.group_id)

    def _handshake(self, received: Entry) -> None:
        """A commit that cannot be applied ends this copy of the group; a proposal that cannot is left out."""
        is_commit = received.kind == "commit"
        if is_commit and self._commit is not None:
            self._group.discard()
            self._settle_commit(self._result.lost)
        try:
            _require_content(received)
            self._require_removal_by_outsider(received)
            self._group.process(received.data)
        except (MlsError, BadPayload):
            self.state = State.LOST if is_commit else self.state
        if not self._group.active:
            self.state = State.GONE

    def _require_removal_by_outsider(self, received: Entry) -> None:
        """Members commit what is proposed, so nobody but a member may propose to let somebody in."""
        if received.kind != "proposal" or peek(received.data).sender_type in (None, "member"):
            return
        trial = Engine.load(self._engine.state()).group(self._convo.group_id)
        before = {proposal.reference for proposal in trial.pending_proposals()}
        trial.process(received.data)
        if any(one.kind != "remove" for one in trial.pending_proposals() if one.reference not in before):
            raise BadPayload("somebody outside the group proposes more than a removal")

    def _settle_commit(self, outcome: set[str]) -> None:
        if self._commit is not None:
            outcome.add(self._commit.id)
            self._store.drop_outgoing(self._commit.id)
            self._commit = None

    def _own_message(self, received: Entry) -> None:
        """The server has taken a message whose answer may have been lost."""
        if outgoing := self._store.outgoing(received.id):
            self._keep(received, self._did, json.loads(outgoing.body))
            self._store.drop_outgoing(received.id)

    def _message(self, received: Entry) -> None:
        try:
            _require_content(received)
            processed = self._group.process(received.data)
            sender = processed.sender_identity.decode() if processed.sender_identity else None
            self._keep(received, sender, read_payload(processed.data or b""))
        except MlsError as error:
            self._keep(received, None, {"messageType": "undecryptable", "reason": error.code})
        except ValueError as error:
            self._keep(received, None, {"messageType": "undecryptable", "reason": str(error)})

    def _keep(self, received: Entry, sender: str | None, payload: Json) -> None:
        message = Message(
            convo_id=received.convo_id,
            seq=received.seq,
            id=received.id,
            epoch=received.epoch,
            kind=str(payload.get("messageType", "unknown")),
            sender=sender,
            mine=received.id in self._own_ids,
            payload=payload,
            created_at=received.created_at,
        )
        self._store.add_message(message)
