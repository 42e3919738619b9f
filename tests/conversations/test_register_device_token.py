"""blue.catbird.mls.registerDeviceToken"""

from typing import Any

import pytest

from conversations.services import delete_device
from delivery.models import PushToken
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_device

pytestmark = pytest.mark.django_db

TOKEN = "0aF1" * 16


@pytest.fixture
def phone() -> Phone:
    phone = Phone(ALICE)
    a_device(phone)
    return phone


def register(wire: Wire, phone: Phone, **changes: Any) -> Answer:
    given = {"deviceId": phone.device_id, "pushToken": TOKEN, "platform": "ios"} | changes
    return wire.call("registerDeviceToken", **{"by": phone.did} | given)


def tokens() -> list[tuple[str, str, str]]:
    rows = PushToken.objects.order_by("platform", "pk")
    return [(row.device_id, row.platform, bytes(row.token).decode()) for row in rows]


def test_a_device_has_one_token_a_platform(wire: Wire, phone: Phone) -> None:
    assert register(wire, phone)["success"] is True
    register(wire, phone, pushToken="another:token-of-FCM", platform="web", deviceName="Alice's phone")
    register(wire, phone, pushToken="ff" * 32)
    assert tokens() == [(phone.device_id, "ios", "ff" * 32), (phone.device_id, "web", "another:token-of-FCM")]


def test_twice_changes_nothing(wire: Wire, phone: Phone) -> None:
    register(wire, phone)
    with leaves_no_trace():
        register(wire, phone, pushToken=TOKEN.upper())


def test_the_uuid_names_the_device_too_and_a_phone_is_of_apple_if_it_says_nothing(wire: Wire, phone: Phone) -> None:
    given = {"deviceId": f"{ALICE}#{phone.uuid}", "pushToken": TOKEN}
    assert wire.call("registerDeviceToken", by=ALICE, **given)["success"] is True
    assert tokens() == [(phone.device_id, "ios", TOKEN.lower())]


def test_a_token_moves_with_the_phone_to_another_account(wire: Wire, phone: Phone) -> None:
    other = Phone(BOB)
    a_device(other)
    register(wire, phone)
    register(wire, other)
    assert tokens() == [(other.device_id, "ios", TOKEN.lower())]


def test_a_device_that_is_deleted_takes_its_tokens_along(wire: Wire, phone: Phone) -> None:
    register(wire, phone)
    register(wire, phone, pushToken="another:token-of-FCM", platform="android")
    delete_device(did=ALICE, handle=phone.device_id)
    assert tokens() == []


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": BOB}, (404, "DeviceNotFound")),
        ({"deviceId": "unknown"}, (404, "DeviceNotFound")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"platform": "pigeon"}, (400, "InvalidRequest")),
        ({"pushToken": "not hexadecimal" * 4}, (400, "InvalidRequest")),
        ({"pushToken": "../" * 16}, (400, "InvalidRequest")),
        ({"pushToken": ""}, (400, "InvalidRequest")),
        ({"pushToken": "two words", "platform": "android"}, (400, "InvalidRequest")),
        ({"pushToken": "x" * 2049, "platform": "android"}, (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, phone: Phone, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        answer = register(wire, phone, **changes)
    assert answer.refusal == refusal
    token = changes.get("pushToken")
    assert not token or token not in answer["message"]


def test_fields_that_are_required(wire: Wire, phone: Phone) -> None:
    for given in ({"deviceId": phone.device_id}, {"pushToken": TOKEN}):
        assert wire.call("registerDeviceToken", by=ALICE, **given).refusal == (400, "InvalidRequest")
