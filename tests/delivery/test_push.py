"""Nudges: one push a device, however much waits, until the device is heard of; lost never, sent twice seldom."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import LazySettings
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client import REGISTRY

from conversations.selectors import Asking
from conversations.services import append_message
from conversations.services.mending import notice_low_stock, ring_for_welcomes
from delivery import nudges
from delivery.fanout import fan_out
from delivery.models import Envelope, Mailbox, Nudge, PushToken
from delivery.push import ATTEMPTS_MAX, LONGEST_PAUSE, UNFINISHED, pause_after, push_due
from delivery.services import keep_push_token, note_contact
from delivery.tasks import push as push_task
from keypackages.services import StuckWelcome
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.providers import Apple, Google, Reply, running
from tests.situations import Talk, a_convo, a_device, add_unjoined

pytestmark = pytest.mark.django_db

TOKEN, NEXT_TOKEN, OTHER_TOKEN = "ab" * 32, "cd" * 32, "a-token-of-another-platform"
GONE, BUSY = Reply(410, {"reason": "Unregistered"}), Reply(503, {"reason": "Shutdown"})


@pytest.fixture
def apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apple]:
    with running(Apple, tmp_path, monkeypatch) as service:
        yield service


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with running(Google, tmp_path, monkeypatch) as service:
        yield service


@pytest.fixture
def talk() -> Talk:
    """Bob's phone can be pushed to and has heard that it is in."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    fan_out()
    register(talk.phones[1])
    return talk


def register(phone: Phone, token: str = TOKEN, platform: str = "ios") -> None:
    keep_push_token(did=phone.did, device_id=phone.device_id, platform=platform, token=token)


def send(talk: Talk, count: int = 1) -> None:
    """Accepted and carried, one by one."""
    for _ in range(count):
        accept(talk)
        fan_out()


def accept(talk: Talk) -> None:
    place = f"m{talk.convo.last_seq}"
    append_message(convo_id=talk.id, who=Asking(ALICE), msg_id=place, epoch=talk.convo.epoch, ciphertext=b"secret")


def read(talk: Talk, *, up_to: int | None = None) -> None:
    """What acknowledging does."""
    phone, seq = talk.phones[1], up_to or talk.convo.last_seq
    here = {"convo_id": talk.id, "did": BOB, "device_id": phone.device_id}
    Mailbox.objects.filter(**here).update(acked_seq=seq)
    Envelope.objects.filter(**here, last_seq__lte=seq).delete()
    Envelope.objects.filter(**here).update(first_seq=seq + 1)
    note_contact(did=BOB, device_id=phone.device_id)


def later() -> None:
    """The time of every nudge has come."""
    Nudge.objects.filter(due_at__isnull=False).update(due_at=Now())


def counted(outcome: str, provider: str = "apns") -> float:
    return REGISTRY.get_sample_value("catbird_push_total", {"provider": provider, "outcome": outcome}) or 0


def test_one_push_however_many_entries_wait(apple: Apple, talk: Talk) -> None:
    send(talk, 3)
    assert push_due() == 1
    send(talk, 3)
    later()
    assert push_due() == 0
    assert apple.tokens == [TOKEN]
    nudge = Nudge.objects.get()
    assert (nudge.did, nudge.due_at, nudge.attempts) == (BOB, None, 0)


def test_another_push_once_it_has_read_and_something_new_comes(apple: Apple, talk: Talk) -> None:
    send(talk)
    push_due()
    read(talk)
    later()
    push_due()
    assert not Nudge.objects.exists()
    send(talk)
    push_due()
    assert apple.tokens == [TOKEN, TOKEN]


def test_what_comes_while_it_reads_is_pushed_for(apple: Apple, talk: Talk) -> None:
    send(talk)
    push_due()
    send(talk)
    assert push_due() == 0
    read(talk, up_to=talk.convo.last_seq - 1)
    later()
    push_due()
    assert apple.tokens == [TOKEN, TOKEN]


def test_what_waited_before_the_push_is_not_pushed_for_again(apple: Apple, talk: Talk) -> None:
    send(talk, 2)
    push_due()
    read(talk, up_to=talk.convo.last_seq - 1)
    later()
    push_due()
    assert (apple.tokens, Nudge.objects.count()) == ([TOKEN], 0)


def test_what_was_read_meanwhile_is_not_pushed_for(apple: Apple, talk: Talk) -> None:
    send(talk)
    read(talk)
    later()
    assert push_due() == 1
    assert (apple.tokens, Nudge.objects.count()) == ([], 0)


def test_an_entry_that_is_not_carried_yet_keeps_the_nudge(apple: Apple, talk: Talk) -> None:
    send(talk)
    read(talk)
    accept(talk)
    later()
    push_due()
    assert Nudge.objects.get().attempts == 0
    fan_out()
    later()
    push_due()
    assert apple.tokens == [TOKEN]


def test_contact_in_the_midst_of_a_push_is_not_forgotten(apple: Apple, talk: Talk) -> None:
    send(talk)
    (nudge,) = nudges.claim_nudges(1)
    read(talk)
    nudges.settle_sent(nudge)
    assert Nudge.objects.get().due_at is not None
    send(talk)
    later()
    push_due()
    assert apple.tokens == [TOKEN]


def test_what_is_carried_in_the_midst_of_a_push_is_pushed_for(apple: Apple, talk: Talk) -> None:
    send(talk)
    (nudge,) = nudges.claim_nudges(1)
    send(talk)
    nudges.settle_sent(nudge)
    read(talk, up_to=talk.convo.last_seq - 1)
    later()
    push_due()
    assert apple.tokens == [TOKEN]


def test_a_push_that_may_be_lost_is_repeated_a_day_later(apple: Apple, talk: Talk) -> None:
    send(talk)
    push_due()
    Nudge.objects.update(sent_at=F("sent_at") - timedelta(hours=23))
    send(talk)
    assert push_due() == 0
    Nudge.objects.update(sent_at=F("sent_at") - timedelta(hours=2))
    send(talk)
    assert push_due() == 1
    assert apple.tokens == [TOKEN, TOKEN]


def test_a_token_that_leads_nowhere_is_dropped(apple: Apple, talk: Talk) -> None:
    before = counted("gone")
    apple.reply = GONE
    send(talk)
    push_due()
    assert (PushToken.objects.count(), Nudge.objects.count(), counted("gone") - before) == (0, 0, 1)
    send(talk)
    assert (push_due(), Nudge.objects.count()) == (0, 0)


def test_a_token_that_is_renewed_meanwhile_stays(apple: Apple, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    apple.reply = GONE
    send(talk)
    claim = nudges.tokens_of

    def renewed_after(batch: list[Nudge]) -> object:
        tokens = claim(batch)
        register(talk.phones[1], NEXT_TOKEN)
        return tokens

    monkeypatch.setattr(nudges, "tokens_of", renewed_after)
    push_due()
    assert bytes(PushToken.objects.get().token).decode() == NEXT_TOKEN


def test_a_push_that_fails_is_tried_again_ever_later_and_then_given_up(apple: Apple, talk: Talk) -> None:
    before = {outcome: counted(outcome) for outcome in ("retried", "given_up")}
    apple.reply = BUSY
    send(talk)
    pauses = []
    for _ in range(ATTEMPTS_MAX - 1):
        assert push_due() == 1
        pauses.append(Nudge.objects.get().due_at - timezone.now())
        assert push_due() == 0
        later()
    expected = [pause_after(attempt) for attempt in range(1, ATTEMPTS_MAX)]
    assert all(timedelta(0) <= due - pause < timedelta(seconds=60) for pause, due in zip(pauses, expected, strict=True))
    assert expected == sorted(expected)
    assert expected[-1] == LONGEST_PAUSE
    push_due()
    nudge = Nudge.objects.get()
    assert (nudge.due_at, nudge.cause, len(apple.pushes)) == (None, "apns: 503 Shutdown", ATTEMPTS_MAX)
    assert nudge.given_up_at is not None
    assert {outcome: counted(outcome) - before[outcome] for outcome in before} == {
        "retried": ATTEMPTS_MAX - 1,
        "given_up": 1,
    }


def test_what_was_given_up_gets_another_chance_when_something_new_comes(apple: Apple, talk: Talk) -> None:
    apple.reply = Reply(400, {"reason": "BadTopic"})
    send(talk)
    push_due()
    assert (Nudge.objects.get().cause, PushToken.objects.get().outcome) == ("apns: 400 BadTopic", "400 BadTopic")
    apple.reply = Reply()
    send(talk)
    push_due()
    assert Nudge.objects.get().sent_at is not None
    assert (Nudge.objects.get().cause, PushToken.objects.get().outcome) == ("", "sent")


def test_contact_gives_what_was_given_up_another_chance_too(apple: Apple, talk: Talk) -> None:
    apple.reply = BUSY
    send(talk, 2)
    Nudge.objects.update(attempts=ATTEMPTS_MAX - 1)
    push_due()
    assert Nudge.objects.get().given_up_at is not None
    apple.reply = Reply()
    read(talk, up_to=talk.convo.last_seq - 1)
    later()
    push_due()
    assert Nudge.objects.get().sent_at is not None


def test_the_service_may_ask_for_a_longer_pause(apple: Apple, talk: Talk) -> None:
    apple.reply = Reply(429, {"reason": "TooManyRequests"}, {"retry-after": "900"})
    send(talk)
    push_due()
    assert Nudge.objects.get().due_at - timezone.now() > timedelta(minutes=14)


def test_a_nudge_that_ends_its_workers_is_given_up(apple: Apple, talk: Talk) -> None:
    send(talk)
    for _ in range(ATTEMPTS_MAX):
        assert len(nudges.claim_nudges(1)) == 1
        later()
    push_due()
    assert (apple.pushes, Nudge.objects.get().cause) == ([], UNFINISHED)


def test_a_claim_that_lapses_is_taken_up_by_another_worker(apple: Apple, talk: Talk) -> None:
    send(talk)
    nudges.claim_nudges(1)
    assert push_due() == 0
    later()
    assert push_due() == 1
    assert apple.tokens == [TOKEN]


def test_without_credentials_nothing_is_written(talk: Talk) -> None:
    send(talk, 3)
    add_unjoined(talk, talk.founder, Phone(BOB, "laptop"))
    assert notice_low_stock() > 0
    note_contact(did=BOB, device_id=None)
    assert push_due() == 0
    assert not Nudge.objects.exists()


def test_only_devices_with_a_token_of_a_platform_that_is_served(apple: Apple, talk: Talk) -> None:
    alice, bob = talk.phones
    PushToken.objects.all().delete()
    register(bob, OTHER_TOKEN, "android")
    send(talk)
    assert not Nudge.objects.exists()
    register(alice)
    send(talk)
    assert Nudge.objects.get().did == ALICE


def test_one_push_that_is_taken_is_enough(apple: Apple, google: Google, talk: Talk) -> None:
    register(talk.phones[1], OTHER_TOKEN, "web")
    before = counted("given_up")
    apple.reply = BUSY
    send(talk)
    push_due()
    assert (len(apple.pushes), google.tokens, Nudge.objects.get().due_at) == (1, [OTHER_TOKEN], None)
    assert (counted("given_up"), PushToken.objects.get(platform="ios").outcome) == (before + 1, "503 Shutdown")


def test_a_place_of_a_whole_account_is_pushed_for_on_all_its_devices(apple: Apple) -> None:
    phone, laptop = Phone(BOB), Phone(BOB, "laptop")
    talk = a_convo(Phone(ALICE), phone, laptop)
    for device, token in ((phone, TOKEN), (laptop, NEXT_TOKEN)):
        register(device, token)
    Mailbox.objects.filter(did=BOB, device_id=phone.device_id).delete()
    Mailbox.objects.filter(did=BOB).update(device_id="")
    send(talk)
    push_due()
    assert sorted(apple.tokens) == [TOKEN, NEXT_TOKEN]


def test_who_is_added_is_pushed_to_before_any_entry_waits(apple: Apple) -> None:
    carol = Phone(CAROL)
    a_device(carol)
    register(carol)
    talk = a_convo(Phone(ALICE))
    add_unjoined(talk, talk.founder, carol)
    push_due()
    assert apple.tokens == [TOKEN]
    assert apple.pushes[0].headers["apns-push-type"] == "alert"


def test_a_welcome_that_is_rung_for_is_pushed_for(apple: Apple, talk: Talk) -> None:
    bob = talk.phones[1]
    ring_for_welcomes([StuckWelcome(0, talk.id, BOB, bob.device_id)])
    push_due()
    assert apple.tokens == [TOKEN]


def test_a_device_that_runs_out_of_packages_is_woken_and_nobody_sees_it(apple: Apple, talk: Talk) -> None:
    notice_low_stock()
    push_due()
    assert [push.headers["apns-push-type"] for push in apple.pushes] == ["background"]


def test_a_quiet_push_does_not_stand_in_the_way_of_one_that_is_shown(apple: Apple, talk: Talk) -> None:
    notice_low_stock()
    push_due()
    send(talk)
    push_due()
    send(talk)
    push_due()
    assert [push.headers["apns-push-type"] for push in apple.pushes] == ["background", "alert"]


def test_a_quiet_wish_does_not_silence_what_is_due(apple: Apple, talk: Talk) -> None:
    send(talk)
    notice_low_stock()
    push_due()
    assert [push.headers["apns-push-type"] for push in apple.pushes] == ["alert"]


def test_nothing_of_the_convo_is_told(apple: Apple, talk: Talk) -> None:
    send(talk)
    push_due()
    (push,) = apple.pushes
    told = f"{push.headers} {push.body}"
    known = {talk.id, ALICE, BOB, talk.phones[1].device_id, talk.phones[1].uuid, "secret", "phone", "alice", "bob"}
    assert [word for word in known if word in told] == []


def test_a_batch_is_worked_off_whole(apple: Apple, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.push.BATCH", 2)
    for number in range(5):
        phone = Phone(f"did:plc:friend{number}")
        a_device(phone)
        register(phone, f"{number:064x}")
        nudges.nudge_devices([(phone.did, phone.device_id)], quiet=False)
    assert push_due() == 5
    assert len(set(apple.tokens)) == 5


def test_the_task_works_off_what_is_due(apple: Apple, talk: Talk) -> None:
    send(talk)
    push_task.apply(throw=True)
    assert apple.tokens == [TOKEN]


@pytest.mark.django_db(transaction=True)
def test_the_worker_is_told_once_the_entries_are_carried_in_a_queue_of_its_own(
    apple: Apple, talk: Talk, settings: LazySettings
) -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as bus:
        queued = bus.llen("push")
        send(talk, 3)
        assert bus.llen("push") == queued + 1
        assert b"delivery.tasks.push" in bus.lindex("push", 0)
        assert TOKEN.encode() not in bus.lindex("push", 0)
        assert b"delivery.tasks.push" not in b"".join(bus.lrange("celery", 0, -1))
