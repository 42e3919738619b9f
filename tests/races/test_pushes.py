"""Several workers at once push to each device once; the test fails when claimed rows are not skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from delivery.models import Nudge, PushToken
from delivery.push import push_due
from delivery.services import keep_push_token, note_contact, nudge_device
from tests.providers import Apple, running
from tests.races.threads import at_once, failures, succeeded

pytestmark = pytest.mark.django_db(transaction=True)

WORKERS, DEVICES = 4, 40


@pytest.fixture
def apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apple]:
    with running(Apple, tmp_path, monkeypatch) as service:
        yield service


def test_no_device_is_pushed_to_twice(apple: Apple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.push.BATCH", 3)
    for number in range(DEVICES):
        keep_push_token(did=f"did:plc:{number}", device_id="phone", platform="ios", token=f"{number:064x}")
        nudge_device(did=f"did:plc:{number}", device_id="phone")
    results = at_once([push_due] * WORKERS)
    assert failures(results) == []
    assert sum(succeeded(results)) == DEVICES
    assert sorted(apple.tokens) == [f"{number:064x}" for number in range(DEVICES)]
    assert not Nudge.objects.filter(due_at__isnull=False).exists()


def test_a_token_that_two_devices_register_at_once_is_of_one_of_them(apple: Apple) -> None:
    def registering(device_id: str) -> None:
        keep_push_token(did="did:plc:alice", device_id=device_id, platform="ios", token="ab" * 32)

    results = at_once([lambda name=f"d{n}": registering(name) for n in range(8)])  # type: ignore[misc]
    assert failures(results) == []
    assert PushToken.objects.count() == 1


def test_contact_and_pushes_do_not_hold_each_other_up(apple: Apple) -> None:
    for number in range(DEVICES):
        keep_push_token(did=f"did:plc:{number}", device_id="phone", platform="ios", token=f"{number:064x}")
        nudge_device(did=f"did:plc:{number}", device_id="phone")

    def reading() -> int:
        for number in reversed(range(DEVICES)):
            note_contact(did=f"did:plc:{number}", device_id=None)
        return 0

    assert failures(at_once([push_due, reading, push_due, reading])) == []
