from keypackages.services.devices import delete_device, register_device
from keypackages.services.packages import (
    SpentPackage,
    hand_out_key_packages,
    publish_key_package,
    publish_key_packages,
    spend_key_packages,
)
from keypackages.services.welcomes import (
    TakenWelcome,
    WelcomeToSend,
    confirm_welcome,
    send_welcomes,
    supersede_welcomes,
    take_welcome,
)

__all__ = [
    "SpentPackage",
    "TakenWelcome",
    "WelcomeToSend",
    "confirm_welcome",
    "delete_device",
    "hand_out_key_packages",
    "publish_key_package",
    "publish_key_packages",
    "register_device",
    "send_welcomes",
    "spend_key_packages",
    "supersede_welcomes",
    "take_welcome",
]
