"""``/metrics``: what is counted, who may ask, and that it names nobody."""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from django.conf import LazySettings
from django.db import transaction
from django.test import Client
from django.utils import timezone
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.parser import text_string_to_metric_families

from catbird_mls import checks, serve
from catbird_mls.xrpc import meters, readings
from conversations.services.mending import note_epochs
from delivery import fanout
from delivery import gauges as delivery_gauges
from delivery.models import Dispatch, Envelope
from keypackages import stuck
from keypackages.errors import InvalidKeyPackages, WelcomeConsumed, WelcomeNotFound
from keypackages.gauges import recompute_gauges
from keypackages.models import Device, KeyPackage, State, Welcome
from keypackages.services import (
    confirm_welcome,
    drop_expired_packages,
    hand_out_key_packages,
    publish_key_package,
    register_device,
    take_welcome,
)
from tests.conftest import Wire
from tests.devices import ALICE, BOB, CAROL, SUITE, Phone
from tests.situations import Talk, a_convo, a_device, add_unjoined, bring_in

# What is counted waits for a commit, so there must be real ones.
pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a token for tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
COUNT_ONE = (
    "import django; django.setup(); import keypackages.services; from catbird_mls.xrpc import meters;"
    "meters.count_failed_retrieval('not_found')"
)
COUNT_NOTHING = "import django; django.setup(); import keypackages.services, catbird_mls.asgi, catbird_mls.urls"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Counting begins anew in a folder of the test's own, and other tests' readings are elsewhere."""
    host = tmp_path / "here"
    host.mkdir()
    settings.CATBIRD_METRICS_DIR, settings.METRICS_HOST_DIR, settings.METRICS_TOKEN = tmp_path, host, TOKEN
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(host))
    monkeypatch.setattr(readings, "KEY", f"test:{uuid4()}")
    _forget_counts()
    yield tmp_path
    _forget_counts()


def _forget_counts() -> None:
    with warnings.catch_warnings():
        # It warns that the files keep what is cleared, which is why they are left behind.
        warnings.simplefilter("ignore", UserWarning)
        counted = (meters.KEY_PACKAGES, meters.WELCOME_RETRIEVALS, meters.CALLS, meters.CALL_SECONDS, meters.PUSHES)
        for metric in (*counted, meters.FAN_OUT_SECONDS, meters.STREAM_EVENTS, meters.BELL_LOSSES):
            metric.clear()
    values.ValueClass.close_all_files()


def exposition() -> str:
    response = Client().get("/metrics", headers=AUTHORIZED)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")
    return response.content.decode()


def numbers() -> dict[tuple[str, ...], float]:
    """Every number, by its name and the values of its labels."""
    families = text_string_to_metric_families(exposition())
    samples = [sample for family in families for sample in family.samples]
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value for sample in samples
    }


def packages(event: str) -> float:
    return numbers()["catbird_key_packages_total", event]


def retrievals(outcome: str) -> float:
    return numbers()["catbird_welcome_retrievals_total", outcome]


def gauge(name: str) -> dict[str, float]:
    """One metric's numbers that are not zero, by label."""
    return {key[1]: value for key, value in numbers().items() if key[0] == name and value}


def run(program: str, folder: Path) -> None:
    environment = os.environ | {"CATBIRD_METRICS_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "catbird_mls.settings"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def a_waiting_welcome() -> tuple[Talk, Phone]:
    talk, carol = a_convo(Phone(ALICE)), Phone(CAROL)
    add_unjoined(talk, talk.founder, carol)
    return talk, carol


def take(talk: Talk, phone: Phone) -> None:
    take_welcome(convo_id=talk.id, did=phone.did, device_id=phone.device_id)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer a token for tests!", f"Basic {TOKEN}", "Bearer \xe9"])
def test_only_the_holder_of_the_token_is_answered(header: str) -> None:
    response = Client().get("/metrics", headers={"Authorization": header})
    assert (response.status_code, response["WWW-Authenticate"], response.content) == (401, "Bearer", b"")


def test_without_a_token_configured_production_does_not_answer(settings: LazySettings) -> None:
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics").status_code == 200
    settings.PRODUCTION = True
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_switched_off_there_is_nothing(settings: LazySettings) -> None:
    settings.ENABLE_METRICS = False
    assert Client().get("/metrics", headers=AUTHORIZED).status_code == 404


def test_a_production_whose_metrics_anybody_could_ask_for_does_not_start(settings: LazySettings) -> None:
    assert checks.guarded_metrics(None) == []
    settings.PRODUCTION, settings.METRICS_TOKEN = True, ""
    assert [one.id for one in checks.guarded_metrics(None)] == ["catbird.E006"]
    settings.ENABLE_METRICS = False
    assert checks.guarded_metrics(None) == []


def test_what_can_be_counted_is_shown_before_it_happens() -> None:
    assert gauge("catbird_key_packages_total") == gauge("catbird_welcome_retrievals_total") == {}
    assert (packages("spent"), retrievals("unusable")) == (0, 0)


def test_packages_are_counted_by_what_happens_to_them() -> None:
    alice, bob = Phone(ALICE), Phone(BOB)
    a_device(alice, packages=3)
    a_device(bob, packages=4)
    assert gauge("catbird_key_packages_total") == {"published": 7}
    talk = a_convo(alice)
    bring_in(talk, alice, bob)
    assert gauge("catbird_key_packages_total") == {"published": 7, "handed_out": 1, "spent": 1}
    hand_out_key_packages(dids=[ALICE, BOB], cipher_suite=None)
    KeyPackage.objects.update(expires_at=timezone.now() - timedelta(days=1))
    drop_expired_packages()
    drop_expired_packages()
    assert gauge("catbird_key_packages_total") == {"published": 7, "handed_out": 3, "spent": 1, "expired": 6}


def test_a_package_published_again_is_not_counted_again() -> None:
    phone = Phone(ALICE)
    a_device(phone, packages=0)
    item = phone.items(1)[0]
    for _ in range(2):
        publish_key_package(did=ALICE, item=item)
    assert packages("published") == 1


def test_what_was_rolled_back_was_never_counted() -> None:
    phone = Phone(ALICE)
    items = [*phone.items(2), {"key_package": b"nonsense", "cipher_suite": SUITE}]
    with pytest.raises(InvalidKeyPackages):
        register_device(did=ALICE, name="phone", device_uuid="", signature_key=phone.signature_key, key_packages=items)
    with transaction.atomic():
        meters.count_key_packages("spent", 1)
        meters.count_retrieval("taken")
        transaction.set_rollback(True)
    assert gauge("catbird_key_packages_total") == gauge("catbird_welcome_retrievals_total") == {}


def test_a_welcome_is_taken_then_fetched_again_then_gone() -> None:
    talk, carol = a_waiting_welcome()
    take(talk, carol)
    take(talk, carol)
    confirm_welcome(convo_id=talk.id, did=CAROL, device_id=carol.device_id, success=True, details="")
    with pytest.raises(WelcomeConsumed):
        take(talk, carol)
    with pytest.raises(WelcomeNotFound):
        take_welcome(convo_id="nowhere", did=CAROL, device_id=None)
    assert gauge("catbird_welcome_retrievals_total") == {"taken": 1, "again": 1, "consumed": 1, "not_found": 1}


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (State.WAITING, "unusable"),
        (State.EXPIRED, "expired"),
        (State.SUPERSEDED, "superseded"),
        (State.REFUSED, "refused"),
    ],
)
def test_why_a_welcome_cannot_be_fetched_is_counted(state: State, outcome: str) -> None:
    talk, carol = a_waiting_welcome()
    Welcome.objects.update(state=state, key_package=None)
    with pytest.raises(WelcomeConsumed):
        take(talk, carol)
    assert gauge("catbird_welcome_retrievals_total") == {outcome: 1}


def test_pushes_are_counted_by_provider_and_outcome() -> None:
    assert numbers()["catbird_push_total", "given_up", "apns"] == 0
    for outcome in ("sent", "sent", "gone"):
        meters.count_push("fcm", outcome)
    seen = numbers()
    assert (seen["catbird_push_total", "sent", "fcm"], seen["catbird_push_total", "gone", "fcm"]) == (2, 1)
    assert (seen["catbird_push_total", "sent", "apns"], seen["catbird_push_total", "retried", "fcm"]) == (0, 0)


def test_a_server_with_half_of_apples_credentials_does_not_start(settings: LazySettings) -> None:
    assert checks.complete_push_credentials(None) == []
    settings.CATBIRD_APNS_KEY_ID = "ABC123DEFG"
    (found,) = checks.complete_push_credentials(None)
    assert found.id == "catbird.E010"
    assert "CATBIRD_APNS_TOPIC" in found.msg
    assert "ABC123DEFG" not in found.msg


def test_requests_are_counted_by_method_and_status_and_timed(wire: Wire) -> None:
    wire.call("listDevices", by=ALICE)
    wire.call("listDevices", by=ALICE)
    wire.call("listDevices", by=None)
    seen = numbers()
    method = "blue.catbird.mls.listDevices"
    assert seen["catbird_xrpc_requests_total", method, "200"] == 2
    assert seen["catbird_xrpc_requests_total", method, "401"] == 1
    assert seen["catbird_xrpc_request_duration_seconds_count", method] == 3
    assert 0 < seen["catbird_xrpc_request_duration_seconds_sum", method] < 60
    assert seen["catbird_xrpc_request_duration_seconds_bucket", "+Inf", method] == 3


def test_methods_that_do_not_exist_share_one_label() -> None:
    for name in ("blue.catbird.mls.nothing", "made.up.by.a.stranger"):
        assert Client().get(f"/xrpc/{name}").status_code == 501
    assert numbers()["catbird_xrpc_requests_total", "unknown", "501"] == 2
    assert "stranger" not in exposition()


def test_nobody_is_named(wire: Wire) -> None:
    talk, carol = a_waiting_welcome()
    wire.call("getWelcome", by=CAROL, convoId=talk.id)
    wire.call("getWelcome", by=BOB, convoId=talk.id)
    readings.keep_readings(recompute_gauges())
    text = exposition()
    named = {ALICE, BOB, CAROL, talk.id, *Device.objects.values_list("pk", flat=True)}
    named |= {carol.uuid, *(bytes(package.reference).hex() for package in KeyPackage.objects.all())}
    assert [name for name in named if name in text] == []
    assert "did:" not in text


def test_processes_add_up_and_one_that_counts_nothing_leaves_no_file(folder: Path) -> None:
    run(COUNT_NOTHING, folder)
    assert list(folder.rglob("*.db")) == []
    run(COUNT_ONE, folder)
    run(COUNT_ONE, folder)
    meters.count_failed_retrieval("not_found")
    assert len(list(folder.rglob("*.db"))) == 3
    assert retrievals("not_found") == 3


def test_a_live_gauge_ends_with_its_process_and_a_counter_does_not(folder: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for kind, process in (("gauge_livesum", ended.pid), ("gauge_livesum", os.getpid()), ("counter", ended.pid)):
        _write(folder / "here" / f"{kind}_{process}.db", f"catbird_{kind}")
    seen = numbers()
    assert (seen["catbird_gauge_livesum",], seen["catbird_counter",]) == (1, 1)


def test_a_torn_file_hides_no_other(folder: Path) -> None:
    _write(folder / "here" / "counter_1.db", "catbird_whole")
    (folder / "here" / "counter_2.db").touch()
    (folder / "here" / "counter_3.db").write_bytes(b"\x7f\x00\x00\x00" * 64)
    assert numbers()["catbird_whole",] == 1


def _write(path: Path, name: str) -> None:
    file = MmapedDict(str(path))
    file.write_value(mmap_key(name, name, [], [], "Written by a test."), 1.0, 0.0)
    file.close()


def test_a_server_begins_with_an_empty_folder(folder: Path) -> None:
    run(COUNT_ONE, folder)
    serve.drop_old_counts()
    assert retrievals("not_found") == 0


def test_the_directory_as_it_stands_is_shown_with_its_age() -> None:
    a_device(Phone(BOB), packages=0)
    talk, carol = a_waiting_welcome()
    add_unjoined(talk, talk.founder, Phone(BOB, "laptop"))
    Welcome.objects.filter(did=CAROL).update(created_at=timezone.now() - timedelta(hours=2))
    Device.objects.filter(pk=carol.device_id).update(last_seen_at=timezone.now())
    note_epochs()
    readings.keep_readings(recompute_gauges())
    assert gauge("catbird_welcomes") == {"waiting": 2}
    assert gauge("catbird_stuck_welcomes") == {stuck.CONVO_MOVED: 1}
    assert gauge("catbird_welcome_age_seconds_bucket") == dict.fromkeys(("60", "300", "3600"), 1) | dict.fromkeys(
        ("21600", "86400", "604800", "2592000", "+Inf"), 2
    )
    assert gauge("catbird_device_key_packages_bucket") == {"0": 1, "1": 3} | dict.fromkeys(
        ("2", "5", "10", "20", "50", "100", "+Inf"), 4
    )
    seen = numbers()
    assert (seen["catbird_device_key_packages_gsum",], seen["catbird_device_key_packages_gcount",]) == (4, 4)
    assert 7200 <= seen["catbird_welcome_age_seconds_gsum",] < 7300
    assert 0 <= seen["catbird_readings_age_seconds",] < 60
    assert seen["catbird_stuck_welcomes", stuck.NEVER_CONFIRMED] == 0


def test_what_waits_to_be_carried_and_fetched_is_shown() -> None:
    a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))
    Dispatch.objects.update(created_at=timezone.now() - timedelta(minutes=10))
    recompute = delivery_gauges.recompute_gauges
    readings.keep_readings(recompute(), of="delivery")
    assert 600 <= numbers()["catbird_dispatch_lag_seconds", "oldest"] < 660
    assert fanout.fan_out() == 1
    Envelope.objects.filter(did=BOB).update(created_at=timezone.now() - timedelta(hours=2))
    readings.keep_readings(recompute(), of="delivery")
    assert numbers()["catbird_dispatch_lag_seconds", "oldest"] == 0
    waiting = gauge("catbird_envelopes_waiting_bucket")
    # The newcomers were not owed the commit that brought them in.
    assert waiting == dict.fromkeys(("60", "3600", "86400", "604800", "2592000", "+Inf"), 1)


def test_the_time_to_an_envelope_is_counted_by_what_set_it_off() -> None:
    for by in ("nudge", "sweep"):
        a_convo(Phone(ALICE), Phone(BOB))
        Dispatch.objects.update(created_at=timezone.now() - timedelta(seconds=20))
        assert fanout.fan_out(by=by) == 1
    seen = numbers()
    for by in ("nudge", "sweep"):
        assert seen["catbird_fan_out_seconds_count", by] == 1
        assert (seen["catbird_fan_out_seconds_bucket", by, "10.0"], seen["catbird_fan_out_seconds_sum", by] >= 20) == (
            0,
            True,
        )


def test_readings_of_both_apps_are_shown_with_the_age_of_the_older() -> None:
    readings.keep_readings(recompute_gauges())
    readings.keep_readings(delivery_gauges.recompute_gauges(), of="delivery")
    seen = numbers()
    assert {("catbird_welcomes", "waiting"), ("catbird_dispatch_lag_seconds", "oldest")} <= seen.keys()
    with readings._bus() as bus:
        old = readings.Kept(time.time() - 600, delivery_gauges.recompute_gauges())
        bus.set(f"{readings.KEY}:delivery", msgspec.json.encode(old), ex=60)
    assert 600 <= numbers()["catbird_readings_age_seconds",] < 660


def test_an_empty_directory_has_numbers_too() -> None:
    readings.keep_readings(recompute_gauges())
    assert gauge("catbird_device_key_packages_bucket") == gauge("catbird_welcome_age_seconds_bucket") == {}
    assert numbers()["catbird_welcomes", "waiting"] == 0


def test_the_job_asks_the_database_one_question_a_reading(django_assert_num_queries) -> None:
    a_waiting_welcome()
    with django_assert_num_queries(4):
        assert len(recompute_gauges()) == 4


def test_a_bus_that_is_down_leaves_its_numbers_out(settings: LazySettings) -> None:
    readings.keep_readings(recompute_gauges())
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    meters.count_failed_retrieval("not_found")
    assert not any(name.startswith(("catbird_welcomes", "catbird_readings")) for name, *_ in numbers())
    assert retrievals("not_found") == 1


def test_readings_of_another_version_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with readings._bus() as bus:
        bus.set(f"{readings.KEY}:keypackages", '{"readings": [{"type": "Unheard"}], "at": 1}', ex=60)
    assert ("catbird_readings_age_seconds",) not in numbers()
