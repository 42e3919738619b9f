"""What beat does to the directory."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db.models import F, Sum
from django.utils import timezone

from keypackages import tasks
from keypackages.models import DailyCount, Device, KeyPackage, Welcome, WelcomeBody
from keypackages.services import (
    claim_low_stock,
    claim_rings,
    drop_expired_packages,
    expire_welcomes,
    fold_daily_counts,
    publish_key_packages,
    purge_spent_packages,
    purge_welcome_bodies,
    register_device,
)
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone
from tests.situations import Talk, a_convo, a_device, add_unjoined

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    """Bob is added and has not joined."""
    talk = a_convo(Phone(ALICE))
    add_unjoined(talk, talk.founder, Phone(BOB))
    return talk


def later(**distance: float) -> None:
    """Everything in the directory is that much older."""
    away = timedelta(**distance)
    for package in KeyPackage.objects.all():
        package.expires_at -= away
        package.save()
    for welcome in Welcome.objects.all():
        welcome.created_at -= away
        welcome.save()
    WelcomeBody.objects.update(created_at=timezone.now() - away)


def test_a_welcome_ends_with_its_package(talk: Talk) -> None:
    assert expire_welcomes() == 0
    later(days=85)
    assert expire_welcomes() == 1
    welcome = Welcome.objects.get()
    assert (welcome.state, welcome.ended_at is not None) == ("expired", True)
    assert expire_welcomes() == 0


def test_packages_that_have_ended_leave_and_are_counted(talk: Talk) -> None:
    later(days=85)
    assert drop_expired_packages() == 3
    assert set(KeyPackage.objects.values_list("spent_in_convo", flat=True)) == {talk.id}
    assert DailyCount.objects.filter(did=BOB).aggregate(Sum("expired")) == {"expired__sum": 1}
    assert drop_expired_packages() == 0


def test_the_counts_of_a_day_become_one_row_when_it_is_over(talk: Talk) -> None:
    def added_up() -> list[tuple[str, int, int]]:
        counts = DailyCount.objects.order_by("did").values_list("did")
        return list(counts.annotate(Sum("published"), Sum("spent")))

    publish_key_packages(did=ALICE, items=talk.founder.items(2))
    before, rows = added_up(), DailyCount.objects.count()
    assert fold_daily_counts() == 0
    DailyCount.objects.update(day=F("day") - timedelta(days=1))
    publish_key_packages(did=ALICE, items=talk.founder.items(1))
    assert fold_daily_counts() > 0
    assert fold_daily_counts() == 0
    assert DailyCount.objects.filter(did=ALICE).count() == 2
    assert DailyCount.objects.count() < rows
    today = {did: published for did, published, _ in added_up()}
    assert today == {did: published + (did == ALICE) for did, published, _ in before}


def test_a_spent_package_stays_until_it_could_not_be_published_again(talk: Talk) -> None:
    Welcome.objects.update(state="confirmed")
    later(days=100)
    assert purge_spent_packages() == 0
    later(days=20)
    assert purge_spent_packages() == 1
    assert Welcome.objects.get().key_package is None


def test_the_package_of_an_unsettled_welcome_is_never_purged(talk: Talk) -> None:
    later(days=200)
    assert purge_spent_packages() == 0


def test_a_used_welcome_answers_alike_when_its_bytes_are_gone(wire: Wire, talk: Talk) -> None:
    wire.call("getWelcome", by=BOB, convoId=talk.id)
    wire.call("confirmWelcome", by=BOB, convoId=talk.id, success=True)
    later(days=31)
    assert purge_welcome_bodies() == 1
    assert not WelcomeBody.objects.exists()
    assert wire.call("getWelcome", by=BOB, convoId=talk.id).refusal == (410, "WelcomeConsumed")
    assert purge_welcome_bodies() == 0


def test_the_bytes_stay_as_long_as_anybody_can_use_them(talk: Talk) -> None:
    later(days=31)
    assert purge_welcome_bodies() == 0


def test_a_device_is_told_once_a_day_that_it_runs_out(settings: LazySettings) -> None:
    settings.CATBIRD_LOW_KEY_PACKAGES = 3
    low, rich = Phone(ALICE), Phone(BOB)
    a_device(low, packages=2)
    a_device(rich, packages=3)
    assert [device.did for device in claim_low_stock()] == [ALICE]
    assert claim_low_stock() == []
    Device.objects.update(low_stock_noticed_at=timezone.now() - timedelta(hours=25))
    assert [device.did for device in claim_low_stock()] == [ALICE]


def test_a_welcome_that_waits_too_long_is_rung_for_now_and_then(talk: Talk) -> None:
    assert claim_rings() == []
    later(hours=2)
    assert [(ring.convo_id, ring.did) for ring in claim_rings()] == [(talk.id, BOB)]
    assert claim_rings() == []
    assert Welcome.objects.get().rings == 1


def test_the_tasks_may_run_twice(talk: Talk) -> None:
    later(days=200)
    for task in (tasks.expire, tasks.purge):
        task.apply(throw=True)
    with leaves_no_trace():
        for task in (tasks.expire, tasks.purge):
            task.apply(throw=True)


def test_a_device_that_asks_is_noted_at_most_once_a_minute(wire: Wire, talk: Talk) -> None:
    device = Device.objects.get(did=BOB)
    given = {"convoId": talk.id, "deviceId": device.pk}
    Device.objects.update(last_seen_at=timezone.now() - timedelta(minutes=5))
    wire.call("getMessages", by=BOB, **given)
    seen = Device.objects.get(did=BOB).last_seen_at
    assert timezone.now() - seen < timedelta(minutes=1)
    wire.call("getMessages", by=BOB, **given)
    assert Device.objects.get(did=BOB).last_seen_at == seen


def test_three_failures_mark_the_device_and_a_success_unmarks_it(wire: Wire, talk: Talk) -> None:
    for tries in range(1, 4):
        wire.call("getWelcome", by=BOB, convoId=talk.id)
        wire.call("confirmWelcome", by=BOB, convoId=talk.id, success=False, errorDetails="no luck")
        assert Welcome.objects.get().tries == tries
        assert (Device.objects.get(did=BOB).needs_recovery_at is not None) == (tries == 3)
    wire.call("getWelcome", by=BOB, convoId=talk.id)
    wire.call("confirmWelcome", by=BOB, convoId=talk.id, success=True)
    assert Device.objects.get(did=BOB).needs_recovery_at is None


def test_registering_again_does_not_disturb_a_welcome_under_way(wire: Wire, talk: Talk) -> None:
    device = Device.objects.get(did=BOB)
    register_device(
        did=BOB,
        name="again",
        device_uuid=device.device_uuid,
        signature_key=Phone(BOB).signature_key,
        key_packages=[],
    )
    assert wire.call("getWelcome", by=BOB, convoId=talk.id, deviceId=device.pk).status == 200
