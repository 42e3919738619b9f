"""A thousand convos at once and more than a hundred messages a second, over three web processes.

CATBIRD_STRESS_SECONDS makes it last.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import httpx
import pytest
from django.db import connection

from catbird_mls.xrpc.auth import mint_development_token
from conversations.models import Convo, Message
from tests.devices import ALICE, BOB, Phone
from tests.races.webs import Webs, webs
from tests.situations import a_convo
from tests.wiring import wire_bytes

CONVOS = 1000
PROCESSES = 3
A_SECOND = 150
SECONDS = int(os.environ.get("CATBIRD_STRESS_SECONDS", "7"))
SEND = "/xrpc/blue.catbird.mls.sendMessage"
# Of the memory a process has once it is warm; what leaks with every message passes it before long.
GROWTH_MAX = 1.25
WARM_SHARE = 0.4

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300 + 2 * SECONDS)]

LIKE_THE_FIRST = {
    "conversations_convo": "'id', 'convo' || n",
    "conversations_member": "'id', 1000000 + n * 10 + pattern.id % 10, 'convo_id', 'convo' || n",
    "conversations_message": "'id', 1000000 + n, 'convo_id', 'convo' || n",
    "delivery_mailbox": "'id', 1000000 + n * 10 + pattern.id % 10, 'convo_id', 'convo' || n",
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
    """So many messages a second, whatever becomes of those before, each to the next convo and the next process."""

    def __init__(self, running: Webs, convo_ids: Sequence[str]) -> None:
        self.running, self.convo_ids = running, convo_ids
        self.headers = {"Authorization": f"Bearer {mint_development_token(ALICE)}"}
        self.refusals: list[str] = []
        self.waits: list[float] = []
        self.sizes: dict[str, list[int]] = {}

    async def offer(self) -> int:
        """How many were offered."""
        numbers, began = count(), time.monotonic()
        async with asyncio.TaskGroup() as sends, httpx.AsyncClient(timeout=60, limits=httpx.Limits(None, None)) as web:
            while (now := time.monotonic() - began) < SECONDS:
                if now > WARM_SHARE * SECONDS and not self.sizes:
                    self.sizes["warm"] = resident(self.running.pids)
                number = next(numbers)
                await asyncio.sleep(began + number / A_SECOND - time.monotonic())
                sends.create_task(self.send(web, number))
            while len(self.waits) < next(numbers) - 1 - len(self.refusals):
                await asyncio.sleep(0.1)
        return len(self.waits)

    async def send(self, web: httpx.AsyncClient, number: int) -> None:
        url = self.running.urls[number % len(self.running.urls)]
        given = {
            "convoId": self.convo_ids[number % len(self.convo_ids)],
            "msgId": f"m{number}",
            "epoch": 1,
            "paddedSize": 512,
            "ciphertext": wire_bytes(b"x" * 512),
        }
        began = time.monotonic()
        answer = await web.post(url + SEND, json=given, headers=self.headers)
        self.waits.append(time.monotonic() - began)
        if answer.status_code != httpx.codes.OK:
            self.refusals.append(answer.text)
