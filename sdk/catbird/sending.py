"""Application messages on their way out. Everything here expects the convo's lock to be held."""

import json
import uuid
from dataclasses import replace

from catbird.commits import resolve, settle_in_line
from catbird.errors import CommitLost, ConvoInactive, EpochMismatch, RateLimited, Unavailable, XrpcError
from catbird.payload import pad
from catbird.recovery import notice_loss
from catbird.rows import OUTSIDE, Kind, Message, Outgoing, State
from catbird.session import Session
from catbird.sync import pull
from catbird.wire import Json, as_bytes

MAX_ATTEMPTS = 5


async def send(session: Session, convo_id: str, payload: bytes) -> Message:
    """Keep a message, then encrypt and send it, behind those that wait already.

    Once kept, it goes out with this call or a later sync, always under the same id; in a convo that is lost,
    once this device has come back.
    """
    notice_loss(session, convo_id)
    if session.convo(convo_id).state not in OUTSIDE:
        session.require_active(convo_id)
    message_id = str(uuid.uuid4())
    with session.store.transaction():
        session.store.put_outgoing(_waiting(session, convo_id, message_id, payload.decode()))
    if session.convo(convo_id).state is State.OK:
        await resolve(session, convo_id)
        await flush(session, convo_id)
    message = session.store.message(convo_id, message_id)
    if message is None:
        raise ConvoInactive(f"{convo_id} is {session.convo(convo_id).state} on this device")
    return message


async def flush(session: Session, convo_id: str) -> None:
    """Send the waiting messages, oldest first."""
    for outgoing in session.store.outbox(convo_id):
        if outgoing.kind is Kind.MESSAGE and session.convo(convo_id).state is State.OK:
            await _deliver(session, outgoing)


async def _deliver(session: Session, outgoing: Outgoing) -> None:
    """Send one message until the log has it, or until this device is out."""
    for _ in range(MAX_ATTEMPTS):
        if not outgoing.mls:
            await settle_in_line(session, outgoing.convo_id)
            outgoing = _encrypt(session, outgoing)
        try:
            answer = await session.methods.repeat(outgoing.method, outgoing.request)
        except EpochMismatch:
            await pull(session, outgoing.convo_id)
            convo = session.convo(outgoing.convo_id)
            if session.store.outgoing(outgoing.id) is None or convo.state is not State.OK:
                return
            outgoing = _waiting(session, outgoing.convo_id, outgoing.id, outgoing.body)
        except XrpcError as error:
            await _after_refusal(session, outgoing, error)
            return
        else:
            _keep(session, outgoing, answer)
            return
    raise CommitLost(f"the epoch of {outgoing.convo_id} moved on {MAX_ATTEMPTS} times during one message")


async def _after_refusal(session: Session, outgoing: Outgoing, error: XrpcError) -> None:
    """A refusal may answer the repetition of a request that was taken; the log knows."""
    if isinstance(error, RateLimited | Unavailable):
        raise error
    await pull(session, outgoing.convo_id)
    if session.store.outgoing(outgoing.id) is not None:
        with session.store.transaction():
            session.store.drop_outgoing(outgoing.id)
        raise error
    if session.store.message(outgoing.convo_id, outgoing.id) is None:
        raise error


def _waiting(session: Session, convo_id: str, message_id: str, body: str) -> Outgoing:
    """A message before it is encrypted: it can be kept while nobody knows for which epoch that will be."""
    epoch = session.convo(convo_id).epoch
    return Outgoing(message_id, convo_id, Kind.MESSAGE, "sendMessage", {}, b"", body, epoch)


def _encrypt(session: Session, waiting: Outgoing) -> Outgoing:
    """The key a message uses up is gone from the file before the message leaves."""
    with session.change():
        group = session.group(waiting.convo_id)
        padded = pad(waiting.body.encode())
        ciphertext = group.encrypt(padded)
        request = {
            "convoId": waiting.convo_id,
            "msgId": waiting.id,
            "idempotencyKey": waiting.id,
            "ciphertext": as_bytes(ciphertext),
            "epoch": group.epoch,
            "paddedSize": len(padded),
            "deviceId": session.device_id,
        }
        outgoing = replace(waiting, request=request, mls=ciphertext, epoch=group.epoch)
        session.store.put_outgoing(outgoing)
    return outgoing


def _keep(session: Session, outgoing: Outgoing, answer: Json) -> None:
    payload = json.loads(outgoing.body)
    message = Message(
        convo_id=outgoing.convo_id,
        seq=int(answer["seq"]),
        id=outgoing.id,
        epoch=outgoing.epoch,
        kind=str(payload["messageType"]),
        sender=session.did,
        mine=True,
        payload=payload,
        created_at=str(answer["receivedAt"]),
    )
    with session.store.transaction():
        session.store.add_message(message)
        session.store.drop_outgoing(outgoing.id)
        convo = session.convo(outgoing.convo_id)
        if convo.seq is not None and message.seq == convo.seq + 1:
            session.store.set_position(convo.id, epoch=convo.epoch, seq=message.seq)
