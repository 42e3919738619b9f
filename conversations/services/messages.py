from collections.abc import Sequence

from django.conf import settings
from django.utils import timezone

from catbird_mls.xrpc.errors import XrpcError
from conversations.errors import IdempotencyConflict, MessageTooLarge
from conversations.framing import proposal_of, require_no_smuggling
from conversations.hints import ephemeral_hint
from conversations.locks import locked_convo
from conversations.models import Convo, Member, Message, Mode
from conversations.selectors import Asking, require_member, require_recent_epoch
from conversations.sequencer import Outgoing, Place, append_alone
from conversations.services.log import SEND_MESSAGE, sender_tag
from conversations.services.proposals import append_members_proposal
from conversations.services.refusals import journaled
from conversations.shapes import ephemeral_view
from delivery.services import carry_hint


def append_message(*, convo_id: str, who: Asking, msg_id: str, epoch: int, ciphertext: bytes) -> Place:
    """Give an application message its place in the convo's log; in a tracked convo also a member's proposal.

    Repeating a ``msg_id`` with the same bytes returns the first entry and changes nothing, so a client that
    lost our answer may safely ask again. A used id with other bytes, or of another account, is refused.
    """
    message = outgoing(convo_id=convo_id, who=who, msg_id=msg_id, epoch=epoch, ciphertext=ciphertext)
    if message.fault is not None and proposal_of(ciphertext) is not None:
        return _propose(message, who)
    return append_alone(message)


def pass_on_message(*, convo_id: str, who: Asking, msg_id: str, epoch: int, ciphertext: bytes) -> Place:
    """Show an application message to the members that are connected; nothing of it is kept.

    It is checked like any other and has no place in the log: the answer names the log's last. Sent again it is
    shown again.
    """
    if len(ciphertext) > settings.CATBIRD_EPHEMERAL_MAX_BYTES:
        raise MessageTooLarge(f"An ephemeral ciphertext is at most {settings.CATBIRD_EPHEMERAL_MAX_BYTES} bytes.")
    require_member(convo_id, who)
    convo = Convo.objects.get(pk=convo_id)
    require_recent_epoch(convo, epoch)
    require_no_smuggling(ciphertext, group_id=bytes(convo.group_id), epoch=epoch)
    view = ephemeral_view(convo, msg_id=msg_id, epoch=epoch, ciphertext=ciphertext)
    carry_hint(ephemeral_hint(convo_id, view))
    return Place(msg_id, convo.last_seq, epoch, timezone.now(), convo.epoch)


def outgoing(*, convo_id: str, who: Asking, msg_id: str, epoch: int, ciphertext: bytes) -> Outgoing:
    """A message as the sequencer takes it, read as far as it parses."""
    if len(ciphertext) > settings.CIPHERTEXT_MAX_BYTES:
        raise MessageTooLarge(f"A ciphertext is at most {settings.CIPHERTEXT_MAX_BYTES} bytes.")
    return Outgoing(
        convo_id=convo_id,
        did=who.did,
        device_id=who.device_id,
        msg_id=msg_id,
        epoch=epoch,
        tag=sender_tag(who.did, msg_id),
        body=ciphertext,
        fault=_fault(convo_id, epoch, ciphertext),
    )


def _fault(convo_id: str, epoch: int, ciphertext: bytes) -> XrpcError | None:
    """What the bytes give themselves away to be, unless an application message of this group and epoch."""
    try:
        # A convo's id is its group id; what is no group id is no convo either.
        require_no_smuggling(ciphertext, group_id=bytes.fromhex(convo_id), epoch=epoch)
    except XrpcError as fault:
        return fault
    except ValueError:
        return None
    return None


def _propose(message: Outgoing, who: Asking) -> Place:
    """A proposal changes what commits may do, so it takes the convo's lock like a commit."""
    with (
        journaled(SEND_MESSAGE, "proposal", convo_id=message.convo_id, who=who, body=message.body),
        locked_convo(message.convo_id) as convo,
    ):
        places = require_member(convo.pk, who)
        entry = _earlier(convo, message) or _append_proposal(convo, places, message)
        return Place(entry.msg_id, entry.seq, entry.epoch, entry.received_at, convo.epoch)


def _append_proposal(convo: Convo, places: Sequence[Member], message: Outgoing) -> Message:
    require_recent_epoch(convo, message.epoch)
    if convo.mode != Mode.TRACKED and message.fault is not None:
        raise message.fault
    return append_members_proposal(convo, places, msg_id=message.msg_id, body=message.body)


def _earlier(convo: Convo, message: Outgoing) -> Message | None:
    entry = convo.messages.filter(msg_id=message.msg_id).first()
    if entry is not None and (bytes(entry.sender_tag), bytes(entry.body)) != (message.tag, message.body):
        raise IdempotencyConflict("This msgId stands for another message.", current_epoch=convo.epoch)
    return entry
