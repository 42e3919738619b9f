from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from catbird_mls.compiled import compiled
from catbird_mls.rows import add_row, add_rows
from catbird_mls.trips import Asked
from catbird_mls.xrpc.meters import Retrieval, count_failed_retrieval, count_retrieval
from keypackages.errors import WelcomeConsumed, WelcomeNotFound
from keypackages.locks import key_packages_of, locked_open_welcomes
from keypackages.models import UNSETTLED_STATES, Device, KeyPackage, State, Welcome, WelcomeBody
from keypackages.selectors import welcome_state_of
from keypackages.services.packages import SpentPackage

REASON_MAX_LENGTH = 1024
TRIES_BEFORE_RECOVERY = 3
# Why there is nothing to fetch, for the counter, where the caller is told no more than that it is gone.
FAILED_RETRIEVALS: dict[str | None, Retrieval] = {
    None: "not_found",
    State.WAITING: "unusable",
    State.EXPIRED: "expired",
    State.SUPERSEDED: "superseded",
    State.REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class WelcomeToSend:
    """One Welcome message of a commit and those it lets in; packages are unknown where only an account is named."""

    body: bytes
    packages: Sequence[SpentPackage]
    dids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TakenWelcome:
    body: bytes
    epoch: int
    ratchet_tree: bytes | None


def send_welcomes(*, convo_id: str, epoch: int, welcomes: Sequence[WelcomeToSend], ratchet_tree: bytes | None) -> None:
    """Leave a commit's Welcomes for those it adds, inside the transaction of that commit.

    A Welcome that is still open for the same device is superseded: the commit that made it was overtaken.
    """
    assert transaction.get_connection().in_atomic_block
    for welcome in welcomes:
        stored = WelcomeBody(convo_id=convo_id, epoch=epoch, body=welcome.body, ratchet_tree=ratchet_tree)
        add_row(stored)
        _supersede_replaced(convo_id, welcome.packages)
        add_rows([_addressed(stored, spent) for spent in welcome.packages])
        add_rows(
            [
                Welcome(convo_id=convo_id, did=did, epoch=epoch, convo_epoch=epoch, reference=b"", body=stored)
                for did in welcome.dids
            ]
        )


def questions_of_newcomers(convo_id: str, dids: Sequence[str], references: Sequence[bytes]) -> list[Asked]:
    """What letting devices in by these packages asks, to be asked together; the packages are held from then on."""
    held = [key_packages_of.of(list(references))] if references else []
    return [*held, unsettled_of.of(convo_id, list(dids))]


def unsettled_convos() -> list[str]:
    """The convos that somebody is still to get into."""
    unsettled = Welcome.objects.filter(state__in=UNSETTLED_STATES).order_by()
    return list(unsettled.values_list("convo_id", flat=True).distinct())


def note_epoch(*, convo_id: str, epoch: int) -> None:
    """The convo has moved on; the distance of a Welcome that is still open tells staff how late its device is."""
    behind = Welcome.objects.filter(convo_id=convo_id, state__in=UNSETTLED_STATES, convo_epoch__lt=epoch)
    behind.update(convo_epoch=epoch)


def _supersede_replaced(convo_id: str, packages: Sequence[SpentPackage]) -> None:
    newly = {(package.did, package.device_id) for package in packages}
    of_theirs = unsettled_of(convo_id, sorted({did for did, _ in newly}))
    _supersede([pk for pk, did, device_id in of_theirs if (did, device_id) in newly], reason="replaced")


@compiled
def unsettled_of(convo_id: str, dids: Sequence[str]) -> QuerySet[Welcome, tuple[int, str, str]]:
    unsettled = Welcome.objects.filter(convo_id=convo_id, state__in=UNSETTLED_STATES)
    return unsettled.filter(did__any=dids).values_list("pk", "did", "device_id")


def take_welcome(*, convo_id: str, did: str, device_id: str | None) -> TakenWelcome:
    """The caller's Welcome in this convo; marks it and its package in one transaction.

    Asking again within the grace time gives the same bytes, because a device may die before it has kept
    what it got. After that, and once it was confirmed, it is gone for good.
    """
    with transaction.atomic(durable=True):
        welcome = next(
            (row for row in locked_open_welcomes(convo_id=convo_id, did=did, device_id=device_id) if _usable(row)),
            None,
        )
        if welcome is None:
            raise _why_none(convo_id, did, device_id)
        count_retrieval("again" if welcome.state == State.FETCHED else "taken")
        _mark_fetched(welcome)
        return _taken(welcome)


def confirm_welcome(*, convo_id: str, did: str, device_id: str | None, success: bool, details: str) -> None:
    """The device tells how joining went. Said twice, or without anything left to confirm, it changes nothing."""
    with transaction.atomic(durable=True):
        fetched = [
            row
            for row in locked_open_welcomes(convo_id=convo_id, did=did, device_id=device_id)
            if row.state == State.FETCHED
        ]
        if not fetched:
            if welcome_state_of(convo_id=convo_id, did=did, device_id=device_id) is None:
                raise WelcomeNotFound
            return
        _settle(fetched[0], success=success, details=details[:REASON_MAX_LENGTH])


@dataclass(frozen=True, slots=True)
class StuckWelcome:
    """A Welcome somebody acts on, in plain values other apps may keep."""

    welcome_id: int
    convo_id: str
    did: str
    device_id: str


def note_rings(welcomes: Sequence[StuckWelcome]) -> None:
    """That their devices were rung for."""
    ids = [welcome.welcome_id for welcome in welcomes]
    Welcome.objects.filter(pk__in=ids).update(rung_at=timezone.now(), rings=F("rings") + 1)


def reject_welcome(*, convo_id: str, did: str, device_id: str | None, reason: str) -> int | None:
    """The device has given up on its Welcome, in its own words: nobody is handed it any more."""
    with transaction.atomic(durable=True):
        welcomes = locked_open_welcomes(convo_id=convo_id, did=did, device_id=device_id)
        if not welcomes:
            return None
        welcome = welcomes[0]
        welcome.state, welcome.ended_at = State.REFUSED, timezone.now()
        welcome.reason = reason[:REASON_MAX_LENGTH]
        welcome.save(update_fields=["state", "ended_at", "reason"])
        return welcome.pk


def supersede_welcomes(*, convo_id: str, did: str, device_id: str | None, reason: str) -> None:
    """No Welcome of this device is of use any longer: it was replaced, or the device is out or in another way."""
    mine = unsettled_of(convo_id, [did])
    _supersede([pk for pk, _, device in mine if device_id in {None, device}], reason=reason)


def _supersede(ids: Sequence[int], *, reason: str) -> None:
    if ids:
        open_ones = Welcome.objects.filter(pk__in=ids, state__in=UNSETTLED_STATES)
        open_ones.update(state=State.SUPERSEDED, ended_at=timezone.now(), reason=reason)


def _addressed(stored: WelcomeBody, spent: SpentPackage) -> Welcome:
    return Welcome(
        convo_id=stored.convo_id,
        did=spent.did,
        device_id=spent.device_id,
        epoch=stored.epoch,
        convo_epoch=stored.epoch,
        reference=spent.reference,
        key_package_id=spent.key_package_id,
        body=stored,
    )


def _taken(welcome: Welcome) -> TakenWelcome:
    assert welcome.body is not None, "an open Welcome has its bytes"
    tree = welcome.body.ratchet_tree
    return TakenWelcome(
        body=bytes(welcome.body.body), epoch=welcome.epoch, ratchet_tree=None if tree is None else bytes(tree)
    )


def _usable(welcome: Welcome) -> bool:
    if welcome.key_package is None and welcome.reference:
        return False
    if welcome.state == State.WAITING:
        return welcome.key_package is None or welcome.key_package.expires_at > timezone.now()
    grace = timedelta(seconds=settings.CATBIRD_WELCOME_GRACE_SECONDS)
    return welcome.first_fetched_at is not None and welcome.first_fetched_at + grace > timezone.now()


def _mark_fetched(welcome: Welcome) -> None:
    if welcome.state == State.FETCHED:
        return
    now = timezone.now()
    welcome.state, welcome.first_fetched_at, welcome.tries = State.FETCHED, now, welcome.tries + 1
    welcome.save(update_fields=["state", "first_fetched_at", "tries"])
    if welcome.key_package is not None:
        KeyPackage.objects.filter(pk=welcome.key_package.pk, consumed_at__isnull=True).update(consumed_at=now)


def _settle(welcome: Welcome, *, success: bool, details: str) -> None:
    """A Welcome that failed waits for another try; after the third its device is known to need another way in."""
    now = timezone.now()
    welcome.state = State.CONFIRMED if success else State.WAITING
    welcome.reason = "" if success else details or "no reason given"
    welcome.ended_at = now if success else None
    welcome.save(update_fields=["state", "reason", "ended_at"])
    if not success and welcome.tries >= TRIES_BEFORE_RECOVERY:
        Device.objects.filter(pk=welcome.device_id, needs_recovery_at__isnull=True).update(needs_recovery_at=now)
    if success:
        Device.objects.filter(pk=welcome.device_id).update(needs_recovery_at=None)


def _why_none(convo_id: str, did: str, device_id: str | None) -> WelcomeConsumed | WelcomeNotFound:
    state = welcome_state_of(convo_id=convo_id, did=did, device_id=device_id)
    count_failed_retrieval(FAILED_RETRIEVALS.get(state, "consumed"))
    return WelcomeNotFound() if state is None else WelcomeConsumed()
