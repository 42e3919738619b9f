"""What is wrong with a device, as far as the server can see, and what would mend it."""

from collections.abc import Sequence
from dataclasses import dataclass

from conversations.models import ReadditionRequest
from conversations.selectors import Asking, expected_convos
from keypackages.stock import KEY_PACKAGE_THRESHOLD, unspent


@dataclass(frozen=True, slots=True)
class DeviceState:
    issues: Sequence[str]
    recommendations: Sequence[str]
    expected: int
    actual: int
    available: int
    target: int
    rejoining: Sequence[str]


def device_state(who: Asking) -> DeviceState:
    """Of one device, or of the account as a whole where the request names none."""
    expected = expected_convos(who)
    outside = [one.convo.pk for one in expected if not one.device_in_group]
    available = unspent(did=who.did, device_id=who.device_id)
    asked = ReadditionRequest.objects.filter(did=who.did, answered_at__isnull=True)
    found = list(_findings(outside, available))
    return DeviceState(
        issues=[issue for issue, _ in found],
        recommendations=[advice for _, advice in found],
        expected=len(expected),
        actual=len(expected) - len(outside),
        available=available,
        target=KEY_PACKAGE_THRESHOLD,
        rejoining=sorted(asked.values_list("convo_id", flat=True)),
    )


def _findings(outside: Sequence[str], available: int) -> list[tuple[str, str]]:
    found = [(f"not in the group of conversation {convo_id}", "rejoin it") for convo_id in outside]
    if available == 0:
        found.append(("no key package is left", "publish key packages"))
    return found
