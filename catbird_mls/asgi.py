"""The front: streams go to their consumers, everything else to Django."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "catbird_mls.settings")
django_application = get_asgi_application()

# Apps are loaded only once Django is set up.
from conversations.selectors import ConvoLog  # noqa: E402
from delivery.consumers import StreamConvoEvents  # noqa: E402
from keypackages.selectors import device_handle  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

STREAMS = {
    f"/xrpc/{StreamConvoEvents.nsid}": StreamConvoEvents.as_asgi(log=ConvoLog(), find_device=device_handle),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    answer = STREAMS.get(scope.get("path", "")) if scope["type"] == "http" else None
    await (answer or django_application)(scope, receive, send)
