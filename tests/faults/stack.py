"""The whole stack under load: senders that ask until they are answered, readers that come back by their cursor."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlencode

import httpx
import libipld
import orjson
import psycopg
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from catbird_mls.xrpc.auth import mint_development_token
from tests.devices import Phone
from tests.wiring import b64, registration, wire_bytes

NAMESPACE = "/xrpc/blue.catbird.mls."
CALL_SECONDS = 5.0
PAUSE_SECONDS = 0.1
# What a device has on its way at once; the rest waits in it.
AT_ONCE = 8


class Caller:
    """One device on the wire; what fails for want of a server is asked again, as clients do."""

    def __init__(self, url: str, phone: Phone) -> None:
        self.phone = phone
        self.headers = {"Authorization": f"Bearer {mint_development_token(phone.did)}"}
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.client = httpx.AsyncClient(base_url=url, headers=self.headers, timeout=CALL_SECONDS)

    async def call(self, method: str, **fields: Any) -> dict[str, Any]:
        async with self.turns:
            while (answer := await self._try(method, fields)) is None:
                await asyncio.sleep(PAUSE_SECONDS)
        assert answer.status_code == httpx.codes.OK, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def _try(self, method: str, fields: dict[str, Any]) -> httpx.Response | None:
        """None when no server has answered."""
        try:
            answer = await self.client.post(f"{NAMESPACE}{method}", content=orjson.dumps(fields))
        except httpx.TransportError:
            return None
        return None if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR else answer


@dataclass
class Reader:
    """What one stream of one device has been told, over however many connections."""

    caller: Caller
    convo_id: str
    websocket: bool = False
    seqs: list[int] = field(default_factory=list)
    connections: int = 0

    async def follow(self) -> None:
        """Until it is cancelled; each connection goes on where the last one ended."""
        while True:
            with suppress(httpx.TransportError, httpx.HTTPStatusError, WebSocketException, OSError):
                async for event in self._events():
                    if event["type"] == "messageEvent":
                        self.seqs.append(event["message"]["seq"])
            await asyncio.sleep(PAUSE_SECONDS)

    def _events(self) -> AsyncIterator[dict[str, Any]]:
        self.connections += 1
        cursor = str(self.seqs[-1] if self.seqs else 0)
        return self._by_websocket(cursor) if self.websocket else self._by_sse(cursor)

    async def _by_websocket(self, cursor: str) -> AsyncIterator[dict[str, Any]]:
        url = str(self.caller.client.base_url).replace("http://", "ws://").rstrip("/")
        given = {"convoId": self.convo_id, "cursor": cursor, "deviceId": self.caller.phone.device_id}
        address = f"{url}{NAMESPACE}subscribeConvoEvents?{urlencode(given)}"
        async with connect(address, additional_headers=self.caller.headers, open_timeout=CALL_SECONDS) as socket:
            async for frame in socket:
                header, payload = libipld.decode_dag_cbor_multi(frame)
                yield {"type": header["t"].removeprefix("#"), **payload}

    async def _by_sse(self, cursor: str) -> AsyncIterator[dict[str, Any]]:
        given = {"convoId": self.convo_id, "cursor": cursor, "deviceId": self.caller.phone.device_id}
        timeout = httpx.Timeout(CALL_SECONDS, read=60)
        path = f"{NAMESPACE}streamConvoEvents"
        async with self.caller.client.stream("GET", path, params=given, timeout=timeout) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield orjson.loads(line.removeprefix("data: "))


@dataclass
class Talk:
    """A convo on the wire, with a caller for each of its devices."""

    id: str
    callers: list[Caller]
    acknowledged: dict[str, int] = field(default_factory=dict)

    async def send(self, by: Caller, number: int) -> None:
        msg_id = f"{by.phone.did}-{number}"
        answer = await by.call(
            "sendMessage",
            convoId=self.id,
            msgId=msg_id,
            epoch=1,
            paddedSize=512,
            ciphertext=wire_bytes(f"message {number}".encode()),
        )
        self.acknowledged[msg_id] = answer["seq"]

    async def keep_talking(self, a_second: int, until: asyncio.Event) -> None:
        """So many messages a second by all of them together; every one is answered before this returns."""
        numbers, sends = count(), set()
        while not until.is_set():
            for by in random.choices(self.callers, k=max(1, a_second // 10)):  # noqa: S311 - a crowd, not a secret
                sends.add(asyncio.create_task(self.send(by, next(numbers))))
            await asyncio.sleep(PAUSE_SECONDS)
        await asyncio.gather(*sends)


async def a_talk(url: str, devices: int) -> Talk:
    """Founded and joined over the wire."""
    callers = [Caller(url, Phone(f"did:plc:device{number}")) for number in range(devices)]
    for caller in callers:
        registered = await caller.call("registerDevice", **registration(caller.phone, packages=1))
        caller.phone.device_id = registered["deviceId"]
    founder, others = callers[0], callers[1:]
    group_id = random.randbytes(16)  # noqa: S311 - a name, not a secret
    group = founder.phone.new_group(group_id)
    info = b64(group.group_info(with_tree=True))
    suite = "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"
    await founder.call("createConvo", groupId=group_id.hex(), cipherSuite=suite, groupInfo=info)
    packages = await founder.client.get(
        f"{NAMESPACE}getKeyPackages", params={"dids": [caller.phone.did for caller in others]}
    )
    made = group.commit(add=[base64.b64decode(one["keyPackage"]) for one in packages.json()["keyPackages"]])
    await founder.call(
        "addMembers",
        convoId=group_id.hex(),
        didList=[caller.phone.did for caller in others],
        commit=b64(made.commit),
        groupInfo=b64(made.group_info),
        welcomeMessage=b64(made.welcome or b""),
    )
    return Talk(group_id.hex(), callers)


def rows(database_url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as held:
        return held.execute(statement, values).fetchall()
