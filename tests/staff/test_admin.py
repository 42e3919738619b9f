"""Every table has its page, no page shows bytes, and the log cannot be changed."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.test import Client

from conversations.selectors import Asking
from conversations.services import append_message, leave_convo
from delivery.fanout import sweep
from keypackages.services import take_welcome
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import a_convo, add_unjoined

pytestmark = pytest.mark.django_db

OURS = [
    model for app in ("conversations", "keypackages", "delivery") for model in apps.get_app_config(app).get_models()
]
NEVER_SHOWN = (models.BinaryField,)


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("staff", password="a long enough one"))
    return client


@pytest.fixture(autouse=True)
def life() -> None:
    """A row in every table."""
    bob = Phone(BOB)
    talk = a_convo(Phone(ALICE), bob)
    add_unjoined(talk, talk.founder, Phone(CAROL))
    take_welcome(convo_id=talk.id, did=CAROL, device_id=None)
    append_message(convo_id=talk.id, who=Asking(ALICE), msg_id="m", epoch=2, ciphertext=b"very secret bytes")
    sweep()
    proposal = bob.group(talk.id).propose_self_remove()
    leave_convo(convo_id=talk.id, who=Asking(BOB), target_did=None, proposal=proposal)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_table_has_a_page(staff: Client, model: type[models.Model]) -> None:
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    listing = staff.get(path)
    assert listing.status_code == 200
    assert b"very secret" not in listing.content
    if row := model._default_manager.first():
        page = staff.get(f"{path}{row.pk}/change/")
        assert page.status_code == 200
        assert b"very secret" not in page.content
        assert b"bytes object" not in page.content.lower()


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_no_bytes_are_shown_and_nothing_can_be_changed(rf: Any, model: type[models.Model]) -> None:
    page = admin.site.get_model_admin(model)
    request = rf.get("/")
    request.user = User(is_staff=True, is_superuser=True)
    shown = {name for name in page.get_fields(request) if isinstance(name, str)}
    hidden = {field.name for field in model._meta.get_fields() if isinstance(field, NEVER_SHOWN)}
    assert not shown & hidden
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)


def test_strangers_are_asked_to_log_in() -> None:
    assert Client().get("/admin/conversations/message/").status_code == 302
