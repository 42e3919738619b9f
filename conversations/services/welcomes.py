from conversations.doors import look_again
from conversations.nudges import prepare_doors
from conversations.selectors import Asking, require_member
from keypackages.services import TakenWelcome, confirm_welcome, take_welcome


def fetch_welcome(*, convo_id: str, who: Asking) -> TakenWelcome:
    """A member's way into the group; strangers are not told whether there is one."""
    require_member(convo_id, who)
    return take_welcome(convo_id=convo_id, did=who.did, device_id=who.device_id)


def settle_welcome(*, convo_id: str, who: Asking, success: bool, details: str) -> None:
    """A member tells how joining went."""
    require_member(convo_id, who)
    confirm_welcome(convo_id=convo_id, did=who.did, device_id=who.device_id, success=success, details=details)
    # A newcomer's first wish is often to bring in its other devices.
    look_again(convo_id)
    prepare_doors()
