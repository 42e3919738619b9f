"""What staff do for Welcomes that do not arrive: allowed, told, noted, and harmless when pressed twice."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.db.models import F
from django.test import Client
from django.utils import timezone

from conversations.models import ReadditionRequest
from conversations.services import mending
from keypackages.admin import WelcomeAdmin
from keypackages.admin import mending as pages
from keypackages.models import Welcome
from keypackages.services import StuckWelcome
from tests.devices import BOB, Phone
from tests.situations import Talk, add_unjoined, remove

pytestmark = pytest.mark.django_db

PAGE = "/admin/keypackages/welcome/"
RING, READD = "ring_again", "ask_for_readding"
DAN = "did:plc:dan"


@pytest.fixture
def stuck(talk: Talk) -> list[Welcome]:
    """Bob and Dan were added two hours ago and have not joined."""
    add_unjoined(talk, talk.founder, Phone(BOB), Phone(DAN))
    waiting = Welcome.objects.filter(did__in=[BOB, DAN])
    waiting.update(created_at=F("created_at") - timedelta(hours=2))
    return list(waiting.order_by("did"))


@pytest.fixture
def mender() -> Client:
    """No more than the permission to change Welcomes."""
    user = User.objects.create_user("mender", password="a long enough one", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_welcome"))
    client = Client()
    client.force_login(user)
    return client


def press(client: Client, action: str, welcomes: Sequence[Welcome], **more: object) -> list[str]:
    """What staff are told."""
    given = {"action": action, "_selected_action": [one.pk for one in welcomes], "index": 0, **more}
    return said(client.post(PAGE, given, follow=True))


def press_on_page(client: Client, word: str, welcome: Welcome) -> list[str]:
    return said(client.post(f"{PAGE}{welcome.pk}/{word}/", {"_form_submitted": "on"}, follow=True))


def said(response: object) -> list[str]:
    assert getattr(response, "status_code", None) == 200
    return [str(message) for message in response.context["messages"]]  # type: ignore[attr-defined]


def notes() -> list[tuple[str, str, str]]:
    """Who did what to which, sorted: numbers are text here, so that 99 stands after 100."""
    entries = LogEntry.objects.order_by("object_id")
    return sorted([(one.user.get_username(), one.object_id or "", one.change_message) for one in entries])


def test_ringing_is_told_and_noted(mender: Client, stuck: list[Welcome]) -> None:
    assert press(mender, RING, stuck) == ["Rang again for 2 Welcomes."]
    assert set(Welcome.objects.filter(did__in=[BOB, DAN]).values_list("state", "rings")) == {("waiting", 1)}
    assert notes() == sorted([("mender", str(one.pk), "Rang again for this Welcome.") for one in stuck])
    assert LogEntry.objects.filter(action_time__gt=timezone.now() - timedelta(minutes=1)).count() == 2


def test_asking_is_told_and_noted(mender: Client, stuck: list[Welcome]) -> None:
    assert press(mender, READD, stuck) == ["Invalidated 2 Welcomes and asked for re-adding."]
    assert set(Welcome.objects.filter(did__in=[BOB, DAN]).values_list("state", flat=True)) == {"superseded"}
    assert set(ReadditionRequest.objects.values_list("did", flat=True)) == {BOB, DAN}
    assert [note for _, _, note in notes()] == ["Invalidated this Welcome and asked for re-adding."] * 2


def test_ringing_twice_in_a_row_is_once(mender: Client, stuck: list[Welcome]) -> None:
    press(mender, RING, stuck)
    told = press(mender, RING, stuck)
    assert told == ["Left 2 Welcomes alone: settled, past use, or rung for within the last minute."]
    assert set(Welcome.objects.filter(did__in=[BOB, DAN]).values_list("rings", flat=True)) == {1}
    assert len(notes()) == 2
    Welcome.objects.update(rung_at=F("rung_at") - pages.RING_PAUSE - timedelta(seconds=1))
    assert press(mender, RING, stuck) == ["Rang again for 2 Welcomes."]


def test_asking_twice_is_once(mender: Client, stuck: list[Welcome]) -> None:
    press(mender, READD, stuck)
    before = list(Welcome.objects.order_by("pk").values())
    assert press(mender, READD, stuck) == ["Left 2 Welcomes alone: already settled."]
    assert list(Welcome.objects.order_by("pk").values()) == before
    assert ReadditionRequest.objects.count() == 2
    assert len(notes()) == 2


def test_a_device_that_was_put_out_is_not_asked_for(mender: Client, talk: Talk, stuck: list[Welcome]) -> None:
    remove(talk, talk.founder, BOB)
    Welcome.objects.filter(did=BOB).update(state="waiting")
    told = press(mender, READD, stuck)
    assert told[0] == "Invalidated 1 Welcome and asked for re-adding."
    assert "nobody was asked, because the device is no longer in the conversation" in told[1]
    assert list(ReadditionRequest.objects.values_list("did", flat=True)) == [DAN]


@pytest.mark.parametrize(("word", "told"), [("ring", "Rang again for 1"), ("readd", "Invalidated 1 Welcome and asked")])
def test_the_page_of_one_welcome_offers_the_same(mender: Client, stuck: list[Welcome], word: str, told: str) -> None:
    page = f"{PAGE}{stuck[0].pk}/"
    assert f"{page}{word}/" in mender.get(f"{page}change/").content.decode()
    assert mender.get(f"{page}{word}/").status_code == 200
    assert notes() == []
    assert press_on_page(mender, word, stuck[0])[0].startswith(told)
    assert press_on_page(mender, word, stuck[0])[0].startswith("Left 1 Welcome alone")
    assert len(notes()) == 1
    assert "for this Welcome" in mender.get(f"{page}history/").content.decode() or word == "readd"


def test_the_dialog_leads_back_to_the_page(mender: Client, stuck: list[Welcome]) -> None:
    sent = mender.post(f"{PAGE}{stuck[0].pk}/ring/", {"_form_submitted": "on"}, headers={"HX-Request": "true"})
    assert sent.headers["HX-Redirect"] == f"{PAGE}{stuck[0].pk}/change/"
    assert mender.post(f"{PAGE}0/ring/", {"_form_submitted": "on"}).status_code == 404


def test_those_who_may_only_look_do_not_see_the_actions(viewer: Client, stuck: list[Welcome]) -> None:
    page = f"{PAGE}{stuck[0].pk}/"
    for path in (PAGE, f"{page}change/"):
        content = viewer.get(path).content.decode()
        assert pages.RING_AGAIN not in content
        assert pages.ASK_FOR_READDING not in content
    for action in (RING, READD):
        press(viewer, action, stuck)
    for word in ("ring", "readd"):
        assert viewer.post(f"{page}{word}/", {"_form_submitted": "on"}).status_code == 403
    assert notes() == []
    assert set(Welcome.objects.filter(did__in=[BOB, DAN]).values_list("state", "rings")) == {("waiting", 0)}


class FailsForBob:
    """The database goes away while Bob's turn is."""

    def ring_for_welcomes(self, welcomes: Sequence[StuckWelcome]) -> int:
        return self.ask_for_readding(welcomes)

    def ask_for_readding(self, welcomes: Sequence[StuckWelcome]) -> int:
        if welcomes[0].did == BOB:
            raise OperationalError
        return mending.ask_for_readding(welcomes)


def test_a_failure_is_told_and_stops_nobody_else(
    mender: Client, talk: Talk, stuck: list[Welcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WelcomeAdmin, "mending", FailsForBob())
    told = press(mender, READD, stuck)
    assert told[0] == "Invalidated 1 Welcome and asked for re-adding."
    assert told[1].startswith("Failed for 1 Welcome and changed nothing there; try again.")
    assert talk.id in told[1]
    assert list(ReadditionRequest.objects.values_list("did", flat=True)) == [DAN]
    assert [key for _, key, _ in notes()] == [str(one.pk) for one in stuck if one.did == DAN]


def test_too_many_at_once_are_refused_as_a_whole(
    mender: Client, stuck: list[Welcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MENDED_AT_ONCE_MAX", 1)
    assert press(mender, READD, stuck) == ["Nothing done: choose at most 1."]
    assert not ReadditionRequest.objects.exists()


def test_all_that_the_list_holds_can_be_chosen(mender: Client, stuck: list[Welcome]) -> None:
    assert press(mender, RING, stuck[:1], select_across="1") == ["Rang again for 2 Welcomes."]


def test_what_the_pages_offer_is_what_conversations_do() -> None:
    assert WelcomeAdmin.mending is mending
