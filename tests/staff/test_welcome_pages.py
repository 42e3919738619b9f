"""The page of Welcomes: which have not arrived, for how long, and why."""

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote_plus

import pytest
from django.db import transaction
from django.db.models import F
from django.test import Client
from django.utils import timezone

from conversations.services.mending import note_epochs
from keypackages import stuck
from keypackages.models import Device, KeyPackage, Welcome
from keypackages.services import WelcomeToSend, confirm_welcome, expire_welcomes, send_welcomes, take_welcome
from keypackages.stuck import CAUSES
from tests.devices import BOB, CAROL, Phone
from tests.situations import Talk, a_convo, add_unjoined, update
from tests.staff.life import address

pytestmark = pytest.mark.django_db

PAGE = "/admin/keypackages/welcome/"
REASON = "no key for <this> package"


@pytest.fixture
def talk(talk: Talk) -> Talk:
    """Bob was added two hours ago, has been online since, and has not joined."""
    add_unjoined(talk, talk.founder, Phone(BOB, "Bob's tablet"))
    grow_older(bobs(), hours=2)
    Device.objects.update(last_seen_at=timezone.now())
    return talk


def bobs() -> Welcome:
    return Welcome.objects.get(did=BOB)


def grow_older(welcome: Welcome, **ago: float) -> None:
    Welcome.objects.filter(pk=welcome.pk).update(created_at=F("created_at") - timedelta(**ago))


def late(talk: Talk, name: str, **ago: float) -> Welcome:
    """One more device that has not joined, for longer or shorter."""
    phone = Phone(f"did:plc:{name}")
    add_unjoined(talk, talk.founder, phone)
    welcome = Welcome.objects.get(did=phone.did)
    grow_older(welcome, **ago)
    return welcome


def shown(client: Client, query: str = "") -> list[str]:
    """Whose Welcomes the list holds, from top to bottom."""
    response = client.get(f"{PAGE}?{query}" if query else PAGE)
    assert response.status_code == 200
    return [row.did.rpartition(":")[2] for row in response.context["cl"].result_list]


def text(client: Client, page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", client.get(page).content.decode()))


def package_unknown(talk: Talk) -> None:
    Welcome.objects.filter(did=BOB).update(key_package=None)


def package_expired(talk: Talk) -> None:
    KeyPackage.objects.filter(did=BOB, spent_at__isnull=False).update(expires_at=timezone.now())
    expire_welcomes()


def refused(talk: Talk) -> None:
    never_confirmed(talk)
    confirm_welcome(convo_id=talk.id, did=BOB, device_id=None, success=False, details=REASON)


def never_confirmed(talk: Talk) -> None:
    take_welcome(convo_id=talk.id, did=BOB, device_id=None)


def device_gone(talk: Talk) -> None:
    Device.objects.filter(did=BOB).update(deleted_at=timezone.now())


def never_online(talk: Talk) -> None:
    Device.objects.update(last_seen_at=timezone.now() - timedelta(days=3))


def convo_moved(talk: Talk) -> None:
    update(talk, talk.founder)
    note_epochs()


def not_asked(talk: Talk) -> None:
    pass


CASES: dict[str, tuple[Callable[[Talk], None], str]] = {
    stuck.PACKAGE_UNKNOWN: (package_unknown, "unknown"),
    stuck.PACKAGE_EXPIRED: (package_expired, "expired"),
    stuck.REFUSED: (refused, "consumed"),
    stuck.NEVER_CONFIRMED: (never_confirmed, "consumed"),
    stuck.DEVICE_GONE: (device_gone, "spent"),
    stuck.NEVER_ONLINE: (never_online, "spent"),
    stuck.CONVO_MOVED: (convo_moved, "spent"),
    stuck.NOT_ASKED: (not_asked, "spent"),
}


def test_every_cause_has_a_case() -> None:
    assert set(CASES) == set(CAUSES)


@pytest.mark.parametrize("cause", CASES)
def test_a_cause_is_shown_in_words_and_can_be_asked_for(staff: Client, talk: Talk, cause: str) -> None:
    build, package = CASES[cause]
    build(talk)
    for other in CAUSES:
        assert shown(staff, f"cause={quote_plus(other)}") == (["bob"] if other == cause else [])
    for page in (PAGE, address(Welcome, bobs())):
        words = text(staff, page)
        assert cause in words
        assert f" {package} " in words
        assert "Bob&#x27;s tablet" in words


def test_what_is_fine_has_no_cause(staff: Client, talk: Talk) -> None:
    Welcome.objects.filter(did=BOB).update(created_at=timezone.now())
    assert shown(staff) == ["bob"]
    assert [cause for cause in CAUSES if shown(staff, f"cause={quote_plus(cause)}")] == []
    assert shown(staff, "which=stuck") == []
    assert stuck.NOT_ASKED not in text(staff, address(Welcome, bobs()))


def test_the_page_begins_with_what_has_not_arrived_longest_stuck_first(staff: Client, talk: Talk) -> None:
    late(talk, "dan", minutes=5)
    late(talk, "erin", days=2)
    assert shown(staff) == ["erin", "bob", "dan"]
    assert shown(staff, "which=stuck") == ["erin", "bob"]
    assert shown(staff, "which=everything") == ["erin", "bob", "dan", "carol"]


def test_settled_ones_come_last_and_only_when_asked_for(staff: Client, talk: Talk) -> None:
    carol = Welcome.objects.get(did=CAROL)
    grow_older(carol, days=9)
    assert shown(staff) == ["bob"]
    assert shown(staff, "which=everything") == ["bob", "carol"]
    assert shown(staff, f"state__exact={carol.state}") == ["carol"]
    assert shown(staff, "q=carol") == ["carol"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state__exact=waiting", ["erin", "bob"]),
        ("state__exact=fetched", []),
        ("age=more+than+an+hour+ago", ["erin", "bob"]),
        ("age=more+than+a+day+ago", ["erin"]),
        ("age=more+than+a+week+ago", []),
        ("q=did:plc:erin", ["erin"]),
        ("q=tablet", ["bob"]),
        ("q=nobody", []),
    ],
)
def test_filters_and_search(staff: Client, talk: Talk, query: str, found: list[str]) -> None:
    late(talk, "erin", days=2)
    assert shown(staff, query) == found


def test_search_by_convo_and_by_device(staff: Client, talk: Talk) -> None:
    elsewhere = a_convo(talk.founder)
    late(elsewhere, "erin", days=1)
    assert shown(staff, f"q={elsewhere.id}") == ["erin"]
    assert shown(staff, f"q={talk.id}&which=unsettled") == ["bob"]
    assert shown(staff, f"q={bobs().device_id}") == ["bob"]


@pytest.mark.parametrize(
    ("column", "ascending"),
    [
        ("age", ["erin", "bob"]),
        ("cause", ["erin", "bob"]),
        ("tries", ["bob", "erin"]),
        ("epochs", ["erin", "bob"]),
    ],
)
def test_sorting(staff: Client, talk: Talk, column: str, ascending: list[str]) -> None:
    convo_moved(talk)
    erin = late(talk, "erin", minutes=90)
    take_welcome(convo_id=talk.id, did=erin.did, device_id=None)
    number = staff.get(PAGE).context["cl"].list_display.index(column)
    assert shown(staff, f"which=stuck&o={number}") == ascending
    assert shown(staff, f"which=stuck&o=-{number}") == ascending[::-1]


def test_the_facts_are_on_the_row_and_on_its_page(staff: Client, talk: Talk) -> None:
    refused(talk)
    convo_moved(talk)
    for page in (PAGE, address(Welcome, bobs())):
        words = text(staff, page)
        assert "no key for &lt;this&gt; package" in words
        assert "2 hours" in words
        assert " 1 epoch " in words
        assert "just now" in words
    page = staff.get(address(Welcome, bobs())).content.decode()
    device, package = Device.objects.get(did=BOB), bobs().key_package
    assert package is not None
    for target in (address(Device, device), address(KeyPackage, package), f"/conversations/convo/{talk.id}/change/"):
        assert target in page
    assert f"?device_id__exact={device.pk}" in page
    assert f"/conversations/member/?convo__id__exact={talk.id}" in page


def test_a_welcome_that_names_no_device_and_no_package_has_its_page(staff: Client, talk: Talk) -> None:
    welcome = WelcomeToSend(body=b"a Welcome nobody here can read", packages=[], dids=[BOB])
    with transaction.atomic():
        send_welcomes(convo_id=talk.id, epoch=1, welcomes=[welcome], ratchet_tree=None)
    page = address(Welcome, Welcome.objects.get(device_id=""))
    assert " not named " in text(staff, page)
    assert f"/admin/keypackages/welcome/?did__exact={quote_plus(BOB)}" in staff.get(page).content.decode()


def test_what_arrived_has_no_cause(staff: Client, talk: Talk) -> None:
    take_welcome(convo_id=talk.id, did=BOB, device_id=None)
    confirm_welcome(convo_id=talk.id, did=BOB, device_id=None, success=True, details="")
    assert not [cause for cause in CAUSES if cause in text(staff, address(Welcome, bobs()))]
