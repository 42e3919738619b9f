"""Every table has its page, no page shows bytes, every link leads somewhere, and nothing can be changed."""

import base64
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import urljoin

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection, models
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catbird_mls import staff as pages
from conversations.models import Message, Rollout
from conversations.rejoining import EXTERNAL_COMMITS, external_commits_enabled
from delivery.models import Nudge, PushToken
from delivery.services import FINGERPRINT_LENGTH
from keypackages.models import Device, KeyPackage
from tests.devices import ALICE, BOB, CAROL
from tests.staff.life import OURS, SECRET, Life, address, kept_bytes

pytestmark = pytest.mark.django_db

GROWN = 20
# How far a feature goes is what staff decide, and one row a feature.
READ_ONLY = [model for model in OURS if model is not Rollout]
# Where a link is not a place: it ends the session, changes a password or is a script.
NO_PLACES = ("/admin/logout/", "/admin/password_change/", "/admin/jsi18n/", "/static/")


@pytest.fixture
def life() -> Life:
    life = Life()
    life.grow()
    return life


def all_pages() -> list[str]:
    """Every list, and the page of the first row of each table."""
    rows = [(model, model._default_manager.order_by("pk").first()) for model in OURS]
    assert [model for model, row in rows if row is None] == []
    return [page for model, row in rows for page in (address(model), address(model, row))]


def links_of(client: Client, page: str) -> set[str]:
    found = re.findall(r'(?:href|hx-get)="([^"#]+)"', client.get(page).content.decode())
    return {urljoin(page, unescape(link)) for link in found}


def test_every_table_has_pages_and_none_shows_bytes(staff: Client, life: Life) -> None:
    kept = list(kept_bytes())
    assert SECRET in kept
    spelled = {form for value in kept for form in (value.hex(), base64.b64encode(value).decode().rstrip("="))}
    for page in all_pages():
        response = staff.get(page)
        shown = response.content.decode()
        assert response.status_code == 200, page
        assert not [form for form in spelled if form in shown], page
        assert SECRET.decode() not in shown
        assert not re.search(r"memory at 0x|bytes object|&#x27;\\x", shown), page


def test_of_a_push_token_only_the_fingerprint_is_shown(staff: Client, life: Life) -> None:
    row, nudge = PushToken.objects.get(), Nudge.objects.get()
    token, shown = bytes(row.token).decode(), ""
    for page in (address(PushToken), address(PushToken, row), address(Nudge), address(Nudge, nudge)):
        shown += staff.get(page).content.decode()
    assert row.fingerprint in shown
    assert token[:FINGERPRINT_LENGTH] not in shown


NUDGES: list[tuple[str, dict[str, Any]]] = [
    ("due", {}),
    ("failing", {"cause": "apns: 503"}),
    ("sent", {"due_at": None, "sent_at": Now()}),
    ("given up", {"due_at": None, "given_up_at": Now(), "cause": "apns: 503"}),
]


@pytest.mark.parametrize(("state", "columns"), NUDGES)
def test_nudges_are_shown_by_their_state_with_the_cause(
    staff: Client, life: Life, state: str, columns: dict[str, Any]
) -> None:
    Nudge.objects.update(**columns)
    nudge = Nudge.objects.get()
    matching = {state, "due"} if state == "failing" else {state}
    for other in ("due", "failing", "sent", "given up"):
        page = staff.get(f"{address(Nudge)}?state={other}").content.decode()
        assert (address(Nudge, nudge) in page) == (other in matching), other
    page = staff.get(address(Nudge)).content.decode()
    assert state in page
    assert columns.get("cause", "") in page


def test_every_link_leads_somewhere(staff: Client, life: Life) -> None:
    links = {link for page in all_pages() for link in links_of(staff, page)}
    places = {link for link in links if link.startswith("/admin/") and not link.startswith(NO_PLACES)}
    assert len(places) > len(OURS)
    assert {link: code for link in sorted(places) if (code := staff.get(link).status_code) != 200} == {}


def test_the_number_of_queries_does_not_grow_with_the_rows(staff: Client, life: Life) -> None:
    first = all_pages()
    few = {page: queries(staff, page) for page in first}
    for _ in range(GROWN - 1):
        life.grow()
    assert {model for model in READ_ONLY if model._default_manager.count() < GROWN} == set()
    assert {page: number for page in first if (number := queries(staff, page)) > few[page]} == {}


def queries(client: Client, page: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as context:
        client.get(page)
    return len(context)


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_no_bytes_are_fields_and_nothing_can_be_changed(rf: Any, model: type[models.Model]) -> None:
    page = admin.site.get_model_admin(model)
    request = rf.get("/")
    request.user = User(is_staff=True, is_superuser=True)
    shown = {name for name in page.get_fields(request) if isinstance(name, str)}
    assert not shown & {field.name for field in model._meta.fields if isinstance(field, models.BinaryField)}
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)


def test_bytes_are_not_even_read(staff: Client, life: Life) -> None:
    message = Message.objects.get(kind="app")
    with CaptureQueriesContext(connection) as context:
        staff.get(address(Message))
        staff.get(address(Message, message))
    columns = "".join(query["sql"] for query in context if "conversations_message" in query["sql"])
    assert '"seq"' in columns
    assert '"body"' not in columns


def test_nothing_is_posted_into_a_row(staff: Client, life: Life) -> None:
    device = Device.objects.get(did=ALICE)
    assert staff.post(address(Device, device), {"name": "mine"}).status_code == 403
    assert staff.post(f"/admin/keypackages/device/{device.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Device.objects.get(did=ALICE).name == "phone"


def test_staff_decide_how_far_a_feature_goes_and_it_is_noted(staff: Client, viewer: Client) -> None:
    given = {"name": EXTERNAL_COMMITS, "percent": 0, "internal_dids": ALICE}
    assert viewer.post(f"{address(Rollout)}add/", given).status_code == 403
    assert staff.post(f"{address(Rollout)}add/", given).status_code == 302
    assert external_commits_enabled(ALICE)
    assert not external_commits_enabled(BOB)
    row = Rollout.objects.get()
    assert staff.post(address(Rollout, row), given | {"percent": 101}).status_code == 200
    assert staff.post(address(Rollout, row), given | {"percent": 100}).status_code == 302
    assert external_commits_enabled(BOB)
    assert LogEntry.objects.filter(object_id=EXTERNAL_COMMITS, user__username="staff").count() == 2


def test_strangers_are_asked_to_log_in() -> None:
    assert Client().get("/admin/conversations/message/").status_code == 302


def test_long_tables_are_not_counted_to_their_end(staff: Client, life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "messages" in staff.get(address(Message)).content.decode()
    monkeypatch.setattr(pages, "COUNTED_ROWS_MAX", 2)
    with CaptureQueriesContext(connection) as context:
        page = staff.get(address(Message)).content.decode()
    assert [query["sql"] for query in context if "LIMIT 3) subquery" in query["sql"]] != []
    assert "Next" in page
    assert "999" not in re.sub(r"<[^>]*>", "", page)


def test_a_device_and_its_packages_lead_to_one_another(staff: Client, life: Life) -> None:
    device = Device.objects.get(did=CAROL)
    package = KeyPackage.objects.get(device=device, spent_at__isnull=False)
    page = staff.get(address(Device, device)).content.decode()
    assert "12 available" in page
    assert "1 spent" in page
    to_spent = f"/admin/keypackages/keypackage/?state=spent&device__id__exact={device.pk}"
    assert to_spent in links_of(staff, address(Device, device))
    assert f"/admin/keypackages/keypackage/{package.pk}/change/" in staff.get(to_spent).content.decode()
    onward = links_of(staff, address(KeyPackage, package))
    assert address(Device, device) in onward
    assert {f"/admin/conversations/convo/{life.talks[0].id}/change/"} <= onward
    assert any(re.fullmatch(r"/admin/keypackages/welcome/\d+/change/", link) for link in onward)


DEVICE_FILTERS: list[tuple[str, Callable[[Device], object]]] = [
    ("device=registered", lambda device: device.deleted_at is None),
    ("device=deleted", lambda device: device.deleted_at is not None),
    ("recovery=needed", lambda device: device.needs_recovery_at is not None),
    ("stock=running+low", lambda device: device.did != CAROL),
    ("stock=none+left", lambda device: False),
    ("contact=more+than+a+week+ago", lambda device: False),
]


@pytest.mark.parametrize(("query", "belongs"), DEVICE_FILTERS)
def test_devices_are_filtered(staff: Client, life: Life, query: str, belongs: Callable[[Device], object]) -> None:
    page = staff.get(f"{address(Device)}?{query}").content.decode()
    for device in Device.objects.all():
        assert (address(Device, device) in page) == bool(belongs(device)), device


def test_side_bar_shows_what_one_may_see(staff: Client, viewer: Client) -> None:
    nobody = User.objects.create_user("nobody", password="a long enough one", is_staff=True)
    stranger = Client()
    stranger.force_login(nobody)
    for client, sees in ((staff, True), (viewer, True), (stranger, False)):
        assert ("/admin/keypackages/welcome/" in client.get("/admin/").content.decode()) == sees
