"""Calls as devices make them, as bytes that need nothing more but a number."""

from urllib.parse import urlencode

import orjson

from bench.load import NAME_LENGTH, NUMBER_LENGTH, Request
from bench.planting import EPOCH
from catbird_mls.xrpc.auth import mint_development_token
from tests.wiring import wire_bytes

NAMESPACE = "/xrpc/blue.catbird.mls."
PLACE = "?" * (NAME_LENGTH + NUMBER_LENGTH)


def headers(did: str) -> str:
    return f"Host: localhost\r\nAuthorization: Bearer {mint_development_token(did)}\r\n"


def call(method: str, did: str, /, **fields: object) -> Request:
    """A procedure; a field that is ``PLACE`` gets a number of its own each time."""
    body = orjson.dumps(fields)
    head = f"POST {NAMESPACE}{method} HTTP/1.1\r\n{headers(did)}Content-Type: application/json\r\n"
    start, _, end = body.partition(PLACE.encode())
    return Request(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + start, end)


def question(method: str, did: str, /, **parameters: object) -> Request:
    """A query."""
    return Request(f"GET {NAMESPACE}{method}?{urlencode(parameters)} HTTP/1.1\r\n{headers(did)}\r\n".encode())


def send(did: str, convo_id: str, ciphertext: bytes) -> Request:
    body = wire_bytes(ciphertext)
    return call("sendMessage", did, convoId=convo_id, msgId=PLACE, epoch=EPOCH, paddedSize=512, ciphertext=body)
