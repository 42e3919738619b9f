"""Staff look here; bytes and keys are not shown, and of references no more than a few hex digits."""

from keypackages.admin.devices import DeviceAdmin
from keypackages.admin.packages import KeyPackageAdmin
from keypackages.admin.welcomes import WelcomeAdmin

__all__ = ["DeviceAdmin", "KeyPackageAdmin", "WelcomeAdmin"]
