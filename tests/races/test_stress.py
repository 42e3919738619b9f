"""A thousand convos at once and more than a hundred messages a second, over three web processes.

CATBIRD_STRESS_SECONDS makes it last.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
from django.db import connection
from django.db.models import Count, Max, Min

from catbird_mls.xrpc.auth import mint_development_token
from conversations.models import Convo, Message
from tests.devices import ALICE, BOB, Phone
from tests.races.webs import Webs, webs
from tests.situations import a_convo
from tests.wiring import wire_bytes

CONVOS = 1000
PROCESSES = 3
SECONDS = int(os.environ.get("CATBIRD_STRESS_SECONDS", "8"))
# Two for each convo at the same moment, by different processes, however short it is.
TOGETHER = 2
A_SECOND = max(120, TOGETHER * CONVOS // SECONDS)
MESSAGES = A_SECOND * SECONDS
CONNECTIONS = 16
SEND = "/xrpc/blue.catbird.mls.sendMessage"
# Of the memory a process has once it is warm; what leaks with every message passes it before long.
GROWTH_MAX = 1.25
WARM_SHARE = 0.4

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300 + 2 * SECONDS)]

# Which message is to be sent, and when it is due; None is the end.
Due = tuple[int, float] | None

LIKE_THE_FIRST = {
    "conversations_convo": "'id', 'convo' || n",
    "conversations_member": "'id', 1000000 + n * 10 + mod(pattern.id, 10), 'convo_id', 'convo' || n",
    "conversations_message": "'id', 1000000 + n, 'convo_id', 'convo' || n",
    "delivery_mailbox": "'id', 1000000 + n * 10 + mod(pattern.id, 10), 'convo_id', 'convo' || n",
}
FILL = """
INSERT INTO {table} SELECT one.* FROM {table} AS pattern, generate_series(2, %s) AS n,
       LATERAL jsonb_populate_record(pattern, jsonb_build_object({changes})) AS one
"""


def many_convos() -> list[str]:
    """One is made as convos are, the others are like it."""
    a_convo(Phone(ALICE), Phone(BOB))
    with connection.cursor() as cursor:
        for table, changes in LIKE_THE_FIRST.items():
            cursor.execute(FILL.format(table=table, changes=changes), [CONVOS])
    return list(Convo.objects.order_by("pk").values_list("pk", flat=True))


class Load:
    """So many messages a second, whatever becomes of those before, each by the next process."""

    def __init__(self, running: Webs, convo_ids: Sequence[str]) -> None:
        self.running, self.convo_ids = running, convo_ids
        self.token = mint_development_token(ALICE)
        self.refusals: list[bytes] = []
        self.waits: list[float] = []
        self.warm: list[int] = []

    async def offer(self) -> None:
        now = asyncio.get_running_loop().time
        queues = [asyncio.Queue[Due]() for _ in self.running.urls]
        async with asyncio.TaskGroup() as callers:
            for url, queue in zip(self.running.urls, queues, strict=True):
                for _ in range(CONNECTIONS):
                    callers.create_task(self.call(url, queue))
            began = now()
            for number in range(MESSAGES):
                due = began + number // TOGETHER * TOGETHER / A_SECOND
                await asyncio.sleep(due - now())
                queues[number % PROCESSES].put_nowait((number, due))
                if number == int(MESSAGES * WARM_SHARE):
                    self.warm = resident(self.running.pids)
            for queue in queues * CONNECTIONS:
                queue.put_nowait(None)

    async def call(self, url: str, queue: "asyncio.Queue[Due]") -> None:
        """One connection; a client library would cost more than the server."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        while (given := await queue.get()) is not None:
            number, due = given
            writer.write(self.request(number))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            answer = await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            self.waits.append(asyncio.get_running_loop().time() - due)
            if b" 200 " not in head.split(b"\r\n")[0]:
                self.refusals.append(answer)
        writer.close()
        await writer.wait_closed()

    def request(self, number: int) -> bytes:
        given = {"msgId": f"m{number}", "epoch": 1, "paddedSize": 512, "ciphertext": wire_bytes(b"x" * 512)}
        body = orjson.dumps({"convoId": self.convo_ids[number // TOGETHER % CONVOS], **given})
        head = f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def resident(pids: Sequence[int]) -> list[int]:
    """How many pages of memory each process holds."""
    return [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]


def require_dense_logs() -> None:
    found = Message.objects.order_by().values_list("convo_id").annotate(Count("seq"), Min("seq"), Max("seq"))
    ends = Convo.objects.values_list("pk", "last_seq")
    assert sorted(found) == sorted((convo_id, end, 1, end) for convo_id, end in ends)


def test_1000_conversations_concurrent() -> None:
    convo_ids = many_convos()
    with webs([True] * PROCESSES) as running:
        load = Load(running, convo_ids)
        asyncio.run(load.offer())
        grown = [after / before for after, before in zip(resident(running.pids), load.warm, strict=True)]
    p99 = sorted(load.waits)[int(len(load.waits) * 0.99)]
    print(f"{len(load.waits)} messages, p99 {p99 * 1000:.0f} ms, memory {max(grown):.3f} of what it was")  # noqa: T201
    assert load.refusals == []
    assert len(load.waits) == MESSAGES
    assert Message.objects.count() == CONVOS + MESSAGES
    require_dense_logs()
    assert max(grown) < GROWTH_MAX
