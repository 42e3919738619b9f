"""What a device says it has got, and its account has read."""

from datetime import datetime

from catbird_mls.xrpc.errors import InvalidRequest, NotMember
from conversations.hints import read_hint
from conversations.models import Convo, Message
from conversations.selectors import Asking, require_member
from delivery import services as delivery
from delivery.selectors import Reader, readable_spans
from delivery.tickets import Ticket


def update_cursor(*, convo_id: str, who: Asking, seq: int) -> None:
    """The device has every entry up to ``seq``; a former member may say so of what it was still owed."""
    end = Convo.objects.filter(pk=convo_id).values_list("last_seq", flat=True).first()
    if end is None:
        raise NotMember
    delivery.acknowledge(convo_id=convo_id, did=who.did, device_id=who.device_id, seq=seq, end=end)
    delivery.note_contact(did=who.did, device_id=who.device_id)


def update_read(*, convo_id: str, did: str, msg_id: str | None) -> datetime:
    """The account has read up to a message, or everything; its devices are told when that is news."""
    require_member(convo_id, Asking(did))
    mark = delivery.mark_read(convo_id=convo_id, did=did, seq=_place(convo_id, msg_id))
    if mark.moved:
        delivery.carry_hint(read_hint(convo_id=convo_id, did=did, msg_id=msg_id, read_at=mark.read_at))
    return mark.read_at


def open_subscription(*, who: Asking, convo_id: str | None) -> Ticket:
    """A ticket for one stream, of a convo the caller may read or of all that are its own."""
    if convo_id is not None and not readable_spans(did=who.did, device_id=who.device_id, convo_id=convo_id):
        raise NotMember
    return delivery.issue_ticket(Reader(who.did, who.device_id, convo_id))


def _place(convo_id: str, msg_id: str | None) -> int:
    if msg_id is None:
        return Convo.objects.values_list("last_seq", flat=True).get(pk=convo_id)
    seq = Message.objects.filter(convo_id=convo_id, msg_id=msg_id).values_list("seq", flat=True).first()
    if seq is None:
        raise InvalidRequest("messageId: there is no such message.")
    return seq
