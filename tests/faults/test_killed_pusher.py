"""A worker that dies between claiming a nudge and sending it loses no push."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from delivery.models import Nudge
from delivery.nudges import CLAIM
from delivery.push import push_due
from delivery.services import keep_push_token, nudge_device
from tests.live import PATIENCE_SECONDS, environment
from tests.providers import Apple, running

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "ab" * 32


def test_what_a_killed_worker_had_claimed_is_sent_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(Apple, tmp_path, monkeypatch) as apple:
        keep_push_token(did="did:plc:alice", device_id="phone", platform="ios", token=TOKEN)
        nudge_device(did="did:plc:alice", device_id="phone")
        surroundings = environment(DJANGO_SETTINGS_MODULE="catbird_mls.settings", **apple.settings)
        dying = subprocess.Popen([sys.executable, "-m", "tests.faults.dying_pusher"], env=surroundings)
        assert dying.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        nudge = Nudge.objects.get()
        assert (nudge.attempts, nudge.sent_at, apple.pushes) == (1, None, [])
        assert nudge.due_at is not None
        assert nudge.due_at - timezone.now() <= CLAIM
        assert push_due() == 0
        # As if the claim had lapsed.
        Nudge.objects.update(due_at=Now())
        assert push_due() == 1
        assert apple.tokens == [TOKEN]
