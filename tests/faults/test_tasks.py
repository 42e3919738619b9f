"""Every task of ours may run twice at once and be killed anywhere: the outcome is that of one whole run."""

import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import count
from threading import Barrier, BrokenBarrierError, local
from uuid import uuid4

import msgspec
import pytest
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from pytest_django.plugin import DjangoDbBlocker

from catbird_mls.xrpc import readings
from delivery.models import Nudge
from tests.faults import rows
from tests.faults.chores import neglected
from tests.faults.places import APPLICATION, Run, watched
from tests.infra.processes import wait_until
from tests.live import environment
from tests.providers import Apple, running
from tests.races.threads import at_once, failures

pytestmark = pytest.mark.django_db(transaction=True)

TASKS = (
    "conversations.tasks.ask_for_group_infos",
    "conversations.tasks.expire_requests",
    "conversations.tasks.note_epochs",
    "conversations.tasks.notice_low_stock",
    "conversations.tasks.purge",
    "conversations.tasks.regenerate_group_infos",
    "conversations.tasks.ring_for_waiting",
    "delivery.tasks.fan_out",
    "delivery.tasks.measure",
    "delivery.tasks.purge",
    "delivery.tasks.push",
    "delivery.tasks.sweep",
    "journal.tasks.purge",
    "keypackages.tasks.expire",
    "keypackages.tasks.measure",
    "keypackages.tasks.purge",
)
# For so long the first of two runs waits at a commit; one that a lock holds up does not get there.
COMPANY_SECONDS = 0.1
SESSIONS = "SELECT FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"

Outcome = dict[str, list[str]]

every_task = pytest.mark.parametrize("task", TASKS)


@dataclass
class Neglect:
    """A service full of work, to be had again and again."""

    convo_id: str
    kept: rows.Kept
    apple: Apple
    killer: "subprocess.Popen[str]"

    def begin_again(self) -> None:
        rows.put_back(self.kept)
        for key in self._doors():
            cache.delete(key)
        readings.KEY = f"test:{uuid4()}"
        self.apple.pushes.clear()

    def args(self, task: str) -> list[str]:
        return [self.convo_id] if signature(current_app.tasks[task].run).parameters else []

    def perform(self, task: str) -> None:
        current_app.tasks[task].apply(args=self.args(task), throw=True)

    def outcome(self) -> Outcome:
        """All rows of ours, and what was said to the bus and to phones."""
        said = readings.kept_readings()
        return {
            **rows.outcome(self.kept),
            "readings": [one.name for one in said.readings] if said else [],
            "doors": [key for key in self._doors() if cache.get(key) is not None],
            "pushes": sorted(set(self.apple.tokens)),
        }

    def die(self, task: str, side: str, place: int) -> bool:
        """Whether the run got as far as that place, where it was killed."""
        run = Run(task, self.args(task), place, side, readings.KEY)
        assert self.killer.stdin is not None
        assert self.killer.stdout is not None
        self.killer.stdin.write(msgspec.json.encode(run).decode() + "\n")
        self.killer.stdin.flush()
        end = int(self.killer.stdout.readline())
        assert end in {0, -signal.SIGKILL}
        wait_until(no_session_is_left)
        return end != 0

    def is_as_once_after(self, task: str, side: str, expected: Outcome) -> int:
        """Killed on that side of each place in turn; how many there are."""
        for place in count(1):
            self.begin_again()
            died = self.die(task, side, place)
            if died:
                # As if the claims of whoever is dead had lapsed.
                Nudge.objects.filter(attempts__gt=0, due_at__isnull=False).update(due_at=Now())
                self.perform(task)
            assert unlike(self.outcome(), expected) == {}, f"{side} place {place}"
            if not died:
                return place - 1
        raise AssertionError("it never ends")

    def _doors(self) -> list[str]:
        return [f"door:{self.convo_id}:{epoch}" for epoch in range(3)]


def no_session_is_left() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS, [APPLICATION])
        return not cursor.fetchall()


@pytest.fixture(scope="module")
def apple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apple]:
    with pytest.MonkeyPatch.context() as patch, running(Apple, tmp_path_factory.mktemp("apple"), patch) as service:
        patch.setattr(readings, "KEY", readings.KEY)
        yield service


@pytest.fixture(scope="module")
def killer(django_db_setup: None, apple: Apple) -> Iterator["subprocess.Popen[str]"]:
    """Waits for somebody to kill."""
    surroundings = environment(
        DJANGO_SETTINGS_MODULE="catbird_mls.settings", CATBIRD_DATABASE_POOL="0", **apple.settings
    )
    argv = [sys.executable, "-m", "tests.faults.dying_task"]
    with subprocess.Popen(argv, env=surroundings, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def neglect(killer: "subprocess.Popen[str]", apple: Apple, django_db_blocker: DjangoDbBlocker) -> Neglect:
    current_app.loader.import_default_modules()
    with django_db_blocker.unblock():
        convo_id = neglected()
        kept = rows.keep()
        rows.put_back(None)
    return Neglect(convo_id, kept, apple, killer)


def outcome_of_one_run(neglect: Neglect, task: str) -> Outcome:
    neglect.begin_again()
    before = neglect.outcome()
    neglect.perform(task)
    after = neglect.outcome()
    assert after != before, "there was nothing to do"
    return after


def unlike(found: Outcome, expected: Outcome) -> Outcome:
    """What is found and not expected, and what is expected and not found."""
    surplus = {name: [f"+ {one}" for one in found[name] if one not in expected[name]] for name in expected}
    missing = {name: [f"- {one}" for one in expected[name] if one not in found[name]] for name in expected}
    return {name: surplus[name] + missing[name] for name in expected if found[name] != expected[name]}


class Company:
    """Two runs come to their commits together, unless a lock makes one of them wait for the other."""

    def __init__(self) -> None:
        self._meetings: defaultdict[int, Barrier] = defaultdict(partial(Barrier, 2))
        self._mine = local()

    @contextmanager
    def passing(self) -> Iterator[None]:
        self._mine.passed = getattr(self._mine, "passed", 0) + 1
        with suppress(BrokenBarrierError):
            self._meetings[self._mine.passed].wait(COMPANY_SECONDS)
        yield

    def keep(self, neglect: Neglect, task: str) -> None:
        with watched(self.passing):
            neglect.perform(task)


def test_no_task_is_forgotten_here() -> None:
    current_app.loader.import_default_modules()
    assert {name for name in current_app.tasks if not name.startswith("celery.")} == set(TASKS)
    assert {one["task"] for one in settings.CELERY_BEAT_SCHEDULE.values()} <= set(TASKS)


@every_task
def test_twice_at_once_is_as_once(neglect: Neglect, task: str) -> None:
    expected = outcome_of_one_run(neglect, task)
    neglect.begin_again()
    company = Company()
    results = at_once([partial(company.keep, neglect, task)] * 2)
    assert failures(results) == []
    assert unlike(neglect.outcome(), expected) == {}
    assert len(neglect.apple.tokens) == len(set(neglect.apple.tokens))


@every_task
def test_killed_anywhere_and_run_again_is_as_once(neglect: Neglect, task: str) -> None:
    expected = outcome_of_one_run(neglect, task)
    deaths = [neglect.is_as_once_after(task, side, expected) for side in ("before", "after")]
    assert all(deaths), "nobody was killed"
