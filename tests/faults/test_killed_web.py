"""What was accepted is delivered, whenever the web process dies."""

import signal
from typing import Any

import httpx
import pytest

from catbird_mls.xrpc.auth import mint_development_token
from conversations.models import Message
from delivery import fanout
from delivery.models import Dispatch, Envelope
from tests.devices import ALICE, BOB, Phone
from tests.live import PATIENCE_SECONDS, web
from tests.situations import Talk, a_convo
from tests.wiring import wire_bytes

pytestmark = pytest.mark.django_db(transaction=True)


def send(url: str, talk: Talk) -> httpx.Response:
    given: dict[str, Any] = {
        "convoId": talk.id,
        "msgId": "last words",
        "ciphertext": wire_bytes(b"x"),
        "epoch": 1,
        "paddedSize": 512,
    }
    headers = {"Authorization": f"Bearer {mint_development_token(ALICE)}"}
    return httpx.post(f"{url}/xrpc/blue.catbird.mls.sendMessage", json=given, headers=headers, timeout=PATIENCE_SECONDS)


def test_a_death_between_commit_and_nudge_loses_no_delivery() -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    fanout.fan_out()
    with web("tests.faults.dying_web:application") as dying:
        with pytest.raises(httpx.TransportError):
            send(dying.url, talk)
        assert dying.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    entry = Message.objects.get(msg_id="last words")
    assert Dispatch.objects.filter(seq=entry.seq).exists()
    assert Envelope.objects.get(did=ALICE).last_seq < entry.seq

    fanout.fan_out()
    assert {envelope.last_seq for envelope in Envelope.objects.all()} == {entry.seq}
    with web() as next_one:
        assert send(next_one.url, talk).json()["seq"] == entry.seq
    assert Message.objects.filter(convo_id=talk.id).count() == entry.seq
