"""A worker that dies by ``kill -9`` with its claims made and nothing sent."""

import os
import signal

import django

django.setup()

from delivery import push  # noqa: E402 - after Django is set up
from delivery.apns import Apns  # noqa: E402


async def die(self: Apns, token: str, *, quiet: bool) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


Apns.send = die  # type: ignore[assignment,method-assign]  # the seam to the provider

if __name__ == "__main__":
    push.push_due()
