"""Events as bytes: server-sent events, and the frames of ATProto's event streams."""

from collections.abc import Mapping
from typing import Any

import orjson
from libipld import encode_dag_cbor

from catbird_mls.xrpc.errors import XrpcError
from catbird_mls.xrpc.fields import decode_base64
from delivery.streams import Event

HEARTBEAT = b": ping\n\n"
EVENT, ERROR = 1, -1


def sse(nsid: str, event: Event) -> bytes:
    """``id`` is the cursor, ``event`` the name, ``data`` the event with its ``$type``."""
    data = {"$type": f"{nsid}#{event.name}", "type": event.name, "cursor": event.cursor, **event.fields}
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.cursor.encode(), event.name.encode(), orjson.dumps(data))


def dag_cbor(nsid: str, event: Event) -> bytes:
    """A header that names the event, then the event; bytes are bytes."""
    body = {"$type": f"{nsid}#{event.name}", "cursor": event.cursor, **event.fields}
    return encode_dag_cbor({"op": EVENT, "t": f"#{event.name}"}) + encode_dag_cbor(_plain(body))


def error_frame(error: XrpcError) -> bytes:
    return encode_dag_cbor({"op": ERROR}) + encode_dag_cbor(error.body())


def _plain(value: Any) -> Any:
    """CBOR has bytes of its own, where JSON has ``{"$bytes": …}``."""
    if isinstance(value, Mapping):
        if value.keys() == {"$bytes"}:
            return decode_base64(value["$bytes"])
        return {name: _plain(member) for name, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, list | tuple) else value
