"""All that conversations may call: plain values in, nothing but rows and hints out."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from catbird_mls.rows import add_rows
from catbird_mls.xrpc.errors import InvalidRequest
from delivery import hub, nudges
from delivery.courier import NUDGE_SPACING_SECONDS, courier
from delivery.hub import Hint
from delivery.marks import acknowledge, mark_read
from delivery.models import Dispatch, Mailbox, Nudge, Platform, PushToken
from delivery.nudges import note_contact
from delivery.tasks import fan_out
from delivery.tickets import issue_ticket

__all__ = [
    "acknowledge",
    "announce_entries",
    "carry_hint",
    "close_mailbox",
    "drop_push_tokens",
    "issue_ticket",
    "keep_push_token",
    "mark_read",
    "note_contact",
    "nudge_device",
    "nudge_devices",
    "nudge_later",
    "open_mailboxes",
    "ring_again",
    "schedule_delivery",
]

# What providers hand out: hexadecimal from Apple, some other printable text from the rest.
TOKEN_FORMS = {Platform.IOS: re.compile(r"[0-9a-fA-F]{32,400}")}
OTHER_TOKEN_FORM = re.compile(r"[!-~]{16,2048}")
FINGERPRINT_LENGTH = 12
FAN_OUT = "fan-out"


def open_mailboxes(*, convo_id: str, devices: Collection[tuple[str, str]], first_seq: int) -> None:
    """From ``first_seq`` on these devices may read the log. Part of the transaction that makes them members."""
    assert transaction.get_connection().in_atomic_block
    add_rows(
        [Mailbox(convo_id=convo_id, did=did, device_id=device_id, first_seq=first_seq) for did, device_id in devices]
    )
    # Streams over all convos of an account are to follow this one too.
    accounts = {did for did, _ in devices}
    transaction.on_commit(lambda: _ring_all(accounts), robust=True)


def close_mailbox(*, convo_id: str, did: str, device_id: str, last_seq: int) -> None:
    """Up to ``last_seq`` the device may read, and no further. Closing a closed one changes nothing."""
    assert transaction.get_connection().in_atomic_block
    Mailbox.objects.filter(convo_id=convo_id, did=did, device_id=device_id, closed_at__isnull=True).update(
        last_seq=last_seq, closed_at=timezone.now()
    )


def schedule_delivery(*, convo_id: str, seq: int) -> None:
    """Make sure that an entry is carried to every open mailbox, whatever dies after the commit.

    The row is the guarantee; the nudge and the bell only make it quick, so neither may fail the request.
    """
    assert transaction.get_connection().in_atomic_block
    add_rows([Dispatch(convo_id=convo_id, seq=seq)])
    nudge_later(FAN_OUT, _begin_fan_out)
    # A named function rather than a partial: Django's report of a failing callback needs a __qualname__.
    transaction.on_commit(lambda: hub.ring(convo_id, seq), robust=True)


def announce_entries(entries: Mapping[str, int]) -> None:
    """What has just been written, by the last entry of each convo, is nudged and rung for; waits for nobody."""
    if entries:
        courier.nudge(FAN_OUT, _begin_fan_out)
    for convo_id, seq in entries.items():
        hub.ring(convo_id, seq)


def ring_again(convo_id: str) -> None:
    """Look once more whether everything of a convo is carried, and wake whoever is connected."""
    nudge_later(FAN_OUT, _begin_fan_out)
    transaction.on_commit(lambda: hub.ring(convo_id, 0), robust=True)


def nudge_later(key: str, send: Callable[[str], object], *, spacing: float = NUDGE_SPACING_SECONDS) -> None:
    """Have ``send`` called with the key by the courier, once the transaction has ended well; it holds nobody up."""
    transaction.on_commit(lambda: courier.nudge(key, send, spacing=spacing), robust=True)


def carry_hint(hint: Hint) -> None:
    """Tell whoever is connected, once the transaction has ended well."""
    transaction.on_commit(lambda: hub.announce(hint), robust=True)


def keep_push_token(*, did: str, device_id: str, platform: str, token: str) -> None:
    """From now on the device is pushed to by this token, and no other device is. Twice changes nothing."""
    if not TOKEN_FORMS.get(Platform(platform), OTHER_TOKEN_FORM).fullmatch(token):
        raise InvalidRequest("pushToken: not a token of this platform.")
    kept = (token.lower() if platform == Platform.IOS else token).encode()
    fingerprint = hashlib.sha256(kept).hexdigest()[:FINGERPRINT_LENGTH]
    with transaction.atomic(durable=True):
        _lock_token(fingerprint)
        same = PushToken.objects.filter(platform=platform, token=kept)
        if same.filter(did=did, device_id=device_id).exists():
            return
        same.delete()
        renewed = {"token": kept, "fingerprint": fingerprint, "registered_at": Now(), "pushed_at": None, "outcome": ""}
        PushToken.objects.update_or_create(did=did, device_id=device_id, platform=platform, defaults=renewed)


def drop_push_tokens(*, did: str, device_id: str) -> None:
    """The device is pushed to no more."""
    with transaction.atomic(durable=True):
        PushToken.objects.filter(did=did, device_id=device_id).delete()
        Nudge.objects.filter(did=did, device_id=device_id).delete()


def nudge_device(*, did: str, device_id: str, quiet: bool = False) -> None:
    """Have a device pushed to, though no entry waits for it; an empty id stands for all of the account.

    Quiet is for what its client does by itself and no person needs to see.
    """
    nudges.nudge_devices([(did, device_id)], quiet=quiet)


def nudge_devices(devices: Iterable[tuple[str, str]]) -> None:
    """The same for many."""
    nudges.nudge_devices(devices, quiet=False)


def _ring_all(accounts: Iterable[str]) -> None:
    for did in accounts:
        hub.ring(did, 0)


def _begin_fan_out(_: str) -> None:
    fan_out.delay()


def _lock_token(fingerprint: str) -> None:
    # Rows cannot be locked before they exist: two devices that register one token take turns.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [f"push token {fingerprint}"])
