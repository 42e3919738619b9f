"""blue.catbird.mls.unregisterDeviceToken"""

import pytest
from django.conf import LazySettings

from delivery.models import Nudge, PushToken
from delivery.services import keep_push_token, nudge_device
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, Phone
from tests.situations import a_device

pytestmark = pytest.mark.django_db

TOKEN, OTHER_TOKEN = "ab" * 32, "cd" * 32


@pytest.fixture
def phone(settings: LazySettings) -> Phone:
    """Alice's, with a token of two platforms, and something to be pushed for; her laptop has a token too."""
    settings.PUSH_PLATFORMS = ["ios"]
    phone, laptop = Phone(ALICE), Phone(ALICE, "laptop")
    for device, platform, token in (
        (phone, "ios", TOKEN),
        (phone, "web", "a-token-of-another-platform"),
        (laptop, "ios", OTHER_TOKEN),
    ):
        if not device.device_id:
            a_device(device)
        keep_push_token(did=ALICE, device_id=device.device_id, platform=platform, token=token)
    nudge_device(did=ALICE, device_id=phone.device_id)
    return phone


def test_the_device_has_no_token_any_more_and_others_keep_theirs(wire: Wire, phone: Phone) -> None:
    assert wire.call("unregisterDeviceToken", by=ALICE, deviceId=phone.uuid)["success"] is True
    assert bytes(PushToken.objects.get().token).decode() == OTHER_TOKEN
    assert not Nudge.objects.exists()


def test_twice_changes_nothing(wire: Wire, phone: Phone) -> None:
    wire.call("unregisterDeviceToken", by=ALICE, deviceId=phone.device_id)
    with leaves_no_trace():
        assert wire.call("unregisterDeviceToken", by=ALICE, deviceId=phone.device_id)["success"] is True


def test_refusals(wire: Wire, phone: Phone) -> None:
    with leaves_no_trace():
        given = {"deviceId": phone.device_id}
        assert wire.call("unregisterDeviceToken", by=BOB, **given).refusal == (404, "DeviceNotFound")
        assert wire.call("unregisterDeviceToken", by=ALICE, deviceId="unknown").refusal == (404, "DeviceNotFound")
        assert wire.call("unregisterDeviceToken", by=None, **given).refusal == (401, "AuthenticationRequired")
        assert wire.call("unregisterDeviceToken", by=ALICE).refusal == (400, "InvalidRequest")
