"""Every cause of a stuck Welcome: built, named, and mended."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from conversations.models import Member, ReadditionRequest
from conversations.services import delete_device
from conversations.services.mending import ask_for_readding, note_epochs, ring_for_welcomes
from keypackages import stuck
from keypackages.models import Device, KeyPackage, Welcome
from keypackages.services import StuckWelcome, confirm_welcome, expire_welcomes, take_welcome
from keypackages.stuck import stuck_welcomes
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import Talk, a_convo, add_unjoined, let_in_anew, update

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> Phone:
    return Phone(BOB)


@pytest.fixture
def talk(bob: Phone) -> Talk:
    """Bob was added two hours ago and has not joined."""
    talk = a_convo(Phone(ALICE), Phone(CAROL))
    add_unjoined(talk, talk.founder, bob)
    Welcome.objects.update(created_at=timezone.now() - timedelta(hours=2))
    return talk


def online_since(talk: Talk) -> None:
    Device.objects.update(last_seen_at=timezone.now())


def package_unknown(talk: Talk) -> None:
    online_since(talk)
    Welcome.objects.filter(did=BOB).update(key_package=None)
    KeyPackage.objects.filter(did=BOB, spent_at__isnull=False).delete()


def package_expired(talk: Talk) -> None:
    online_since(talk)
    KeyPackage.objects.filter(did=BOB, spent_at__isnull=False).update(expires_at=timezone.now())
    expire_welcomes()


def refused(talk: Talk) -> None:
    online_since(talk)
    take_welcome(convo_id=talk.id, did=BOB, device_id=None)
    confirm_welcome(convo_id=talk.id, did=BOB, device_id=None, success=False, details="broken")


def never_confirmed(talk: Talk) -> None:
    online_since(talk)
    take_welcome(convo_id=talk.id, did=BOB, device_id=None)


def never_online(talk: Talk) -> None:
    Device.objects.update(last_seen_at=timezone.now() - timedelta(hours=3))


def convo_moved(talk: Talk) -> None:
    online_since(talk)
    update(talk, talk.founder)
    update(talk, talk.founder)
    note_epochs()


CASES: list[tuple[Callable[[Talk], None], str]] = [
    (package_unknown, stuck.PACKAGE_UNKNOWN),
    (package_expired, stuck.PACKAGE_EXPIRED),
    (refused, stuck.REFUSED),
    (never_confirmed, stuck.NEVER_CONFIRMED),
    (never_online, stuck.NEVER_ONLINE),
    (convo_moved, stuck.CONVO_MOVED),
    (online_since, stuck.NOT_ASKED),
]


def as_stuck() -> list[StuckWelcome]:
    return [StuckWelcome(one.pk, one.convo_id, one.did, one.device_id) for one in stuck_welcomes()]


@pytest.mark.parametrize(("build", "cause"), CASES, ids=[build.__name__ for build, _ in CASES])
def test_the_cause_is_named_and_readding_mends_it(
    talk: Talk, bob: Phone, build: Callable[[Talk], None], cause: str
) -> None:
    build(talk)
    (welcome,) = stuck_welcomes()
    assert welcome.cause == cause
    assert welcome.distance == talk.convo.epoch - welcome.epoch

    assert ask_for_readding(as_stuck()) == 1
    assert not stuck_welcomes().exists()
    assert ReadditionRequest.objects.get().answered_at is None
    # Carol is no admin, and answers the request.
    let_in_anew(talk, talk.phones[1], bob)
    said = bob.group(talk.id).encrypt(b"here I am")
    assert talk.founder.group(talk.id).process(said).data == b"here I am"
    assert ReadditionRequest.objects.get().answered_at is not None


def test_the_words_of_the_client_are_kept(talk: Talk) -> None:
    refused(talk)
    assert [(one.reason, one.tries) for one in stuck_welcomes()] == [("broken", 1)]


def test_a_welcome_of_a_device_that_is_gone_is_no_longer_stuck(talk: Talk, bob: Phone) -> None:
    delete_device(did=BOB, handle=bob.device_id)
    assert not stuck_welcomes().exists()
    assert Member.objects.get(did=BOB).leaving_at is not None


def test_a_young_welcome_is_not_stuck(talk: Talk) -> None:
    Welcome.objects.update(created_at=timezone.now())
    assert not stuck_welcomes().exists()


def test_ringing_is_noted_and_may_be_repeated(talk: Talk) -> None:
    assert ring_for_welcomes(as_stuck()) == 1
    assert ring_for_welcomes(as_stuck()) == 1
    assert Welcome.objects.get(did=BOB).rings == 2


def test_asking_twice_leaves_one_request(talk: Talk) -> None:
    welcomes = as_stuck()
    assert ask_for_readding(welcomes) == 1
    assert ask_for_readding(welcomes) == 1
    assert ReadditionRequest.objects.count() == 1


def test_the_list_takes_one_query_however_long(talk: Talk, django_assert_num_queries: Callable[[int], object]) -> None:
    for name in ("dora", "emil", "fred"):
        add_unjoined(talk, talk.founder, Phone(f"did:plc:{name}"))
    Welcome.objects.update(created_at=timezone.now() - timedelta(hours=2))
    with django_assert_num_queries(1):  # type: ignore[attr-defined]
        assert len([one.cause for one in stuck_welcomes()]) == 4
