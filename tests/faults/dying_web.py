"""A web process that dies by ``kill -9`` after the commit and before the nudge."""

import os
import signal

from catbird_mls.asgi import application
from delivery import services


def die(convo_id: str, send: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


services.courier.nudge = die  # type: ignore[method-assign]  # the seam where the nudge is given

__all__ = ["application"]
