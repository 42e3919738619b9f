"""What a convo refused, for the journal."""

from collections.abc import Iterator
from contextlib import contextmanager

from catbird_mls.xrpc.errors import XrpcError
from conversations.errors import InvalidGroupInfo
from conversations.models import Convo
from conversations.selectors import Asking
from conversations.services.bundle import CommitBundle
from journal.services import note_refusal
from keypackages.errors import InvalidWelcome


@contextmanager
def journaled(nsid: str, thing: str, *, convo_id: str, who: Asking, body: bytes | None) -> Iterator[None]:
    """Outermost around a change: when that is refused, a row says what, once its transaction is over.

    A request without MLS bytes has nothing to be looked into.
    """
    try:
        yield
    except XrpcError as refusal:
        if body is not None:
            note(refusal, nsid, thing, convo_id=convo_id, who=who, body=body)
        raise


@contextmanager
def journaled_bundle(nsid: str, *, convo_id: str, who: Asking, bundle: CommitBundle | None) -> Iterator[None]:
    """The same for a commit and what came with it, of which the part that was refused is named."""
    try:
        yield
    except XrpcError as refusal:
        if bundle is not None:
            thing, body = _refused_part(refusal, bundle)
            note(refusal, nsid, thing, convo_id=convo_id, who=who, body=body)
        raise


def note(refusal: XrpcError, nsid: str, thing: str, *, convo_id: str, who: Asking, body: bytes) -> None:
    epoch = Convo.objects.filter(pk=convo_id).values_list("epoch", flat=True).first()
    note_refusal(
        refusal,
        nsid=nsid,
        thing=thing,
        body=body,
        did=who.did,
        device_id=who.device_id or "",
        convo_id=convo_id,
        epoch=epoch,
    )


def _refused_part(refusal: XrpcError, bundle: CommitBundle) -> tuple[str, bytes]:
    if isinstance(refusal, InvalidGroupInfo):
        return "GroupInfo", bundle.group_info or b""
    if isinstance(refusal, InvalidWelcome):
        return "Welcome", b"".join(bundle.welcomes)
    return "commit", bundle.commit
