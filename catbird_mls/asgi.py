"""Streams go to their consumers, other XRPC calls to the front, everything else to Django."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "catbird_mls.settings")
django_application = get_asgi_application()

# Apps are loaded only once Django is set up.
from catbird_mls.xrpc.front import PREFIX, Front  # noqa: E402
from conversations.desk import open_desk  # noqa: E402
from conversations.selectors import ConvoLog  # noqa: E402
from conversations.xrpc.get_commits import GetCommits  # noqa: E402
from conversations.xrpc.get_convos import GetConvos  # noqa: E402
from conversations.xrpc.get_epoch import GetEpoch  # noqa: E402
from conversations.xrpc.get_messages import GetMessages  # noqa: E402
from conversations.xrpc.send_message import SendMessage  # noqa: E402
from delivery.consumers import StreamConvoEvents, SubscribeConvoEvents, UpgradeRequired  # noqa: E402
from delivery.desk import Desk  # noqa: E402
from keypackages.selectors import device_handle  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

LOG = ConvoLog()
WIRED = {"log": LOG, "desk": Desk(LOG), "find_device": device_handle}
STREAMS = {
    f"/xrpc/{StreamConvoEvents.nsid}": {"http": StreamConvoEvents.as_asgi(**WIRED)},
    f"/xrpc/{SubscribeConvoEvents.nsid}": {
        "http": UpgradeRequired.as_asgi(),
        "websocket": SubscribeConvoEvents.as_asgi(**WIRED),
    },
}


SWIFT = {method.nsid: method for method in (SendMessage, GetEpoch, GetMessages, GetCommits, GetConvos)}
front = Front(SWIFT, open_desk)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope.get("path", "")
    stream = STREAMS.get(path, {}).get(scope["type"])
    if stream is not None:
        await stream(scope, receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    elif scope["type"] == "http" and path.startswith(PREFIX):
        await front(scope, receive, send)
    else:
        await django_application(scope, receive, send)
