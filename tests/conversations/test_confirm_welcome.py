"""blue.catbird.mls.confirmWelcome"""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from keypackages.models import Welcome
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, MALLORY, Phone
from tests.situations import Talk, a_convo, add_unjoined

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk(wire: Wire) -> Talk:
    """Bob is added and has fetched his Welcome."""
    talk = a_convo(Phone(ALICE))
    add_unjoined(talk, talk.founder, Phone(BOB))
    wire.call("getWelcome", by=BOB, convoId=talk.id)
    return talk


def confirm(wire: Wire, talk: Talk, *, by: str | None = BOB, **changes: Any) -> Answer:
    return wire.call("confirmWelcome", by=by, **{"convoId": talk.id, "success": True} | changes)


def test_a_confirmed_welcome_is_done_with(wire: Wire, talk: Talk) -> None:
    assert confirm(wire, talk).body == {"confirmed": True}
    assert Welcome.objects.get().state == "confirmed"


def test_confirming_twice_changes_nothing(wire: Wire, talk: Talk) -> None:
    confirm(wire, talk)
    with leaves_no_trace():
        assert confirm(wire, talk).body == {"confirmed": True}


def test_a_failed_welcome_waits_for_another_try_even_past_the_grace_time(wire: Wire, talk: Talk) -> None:
    confirm(wire, talk, success=False, errorDetails="storage is full")
    welcome = Welcome.objects.get()
    assert (welcome.state, welcome.reason, welcome.tries) == ("waiting", "storage is full", 1)
    Welcome.objects.update(first_fetched_at=timezone.now() - timedelta(days=1))
    assert wire.call("getWelcome", by=BOB, convoId=talk.id).status == 200
    assert Welcome.objects.get().tries == 2


def test_refusals(wire: Wire, talk: Talk) -> None:
    with leaves_no_trace():
        assert confirm(wire, talk, by=ALICE).refusal == (404, "WelcomeNotFound")
        assert confirm(wire, talk, by=MALLORY).refusal == (403, "NotMember")
        assert confirm(wire, talk, by=None).refusal == (401, "AuthenticationRequired")
        assert confirm(wire, talk, convoId="nowhere").refusal == (403, "NotMember")
        assert confirm(wire, talk, success=None).refusal == (400, "InvalidRequest")
        assert confirm(wire, talk, errorDetails="x" * 1025).refusal == (400, "InvalidRequest")
