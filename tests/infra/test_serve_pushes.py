"""The whole server with a provider's credentials: what is accepted over the wire goes out as a push."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.conf import settings

from catbird_mls.xrpc.auth import mint_development_token
from tests.devices import ALICE, BOB, SUITE, Phone
from tests.infra.processes import ENOUGH_SECONDS
from tests.infra.test_serve import Serve, Served, ends_cleanly
from tests.infra.test_serve import serve as serve
from tests.providers import Apple, certificate
from tests.wiring import b64, registration

TOKEN = "ab" * 32


@pytest.fixture
def apple(tmp_path: Path) -> Iterator[Apple]:
    service = Apple(tmp_path)
    yield service
    service.stop()


def call(served: Served, method: str, by: str, **given: Any) -> Any:
    headers = {"Authorization": f"Bearer {mint_development_token(by)}"}
    url = f"{served.url}/xrpc/blue.catbird.mls.{method}"
    response = httpx.post(url, json=given, headers=headers, timeout=ENOUGH_SECONDS)
    assert response.status_code == 200, response.text
    return response.json()


def register(served: Served, phone: Phone) -> bytes:
    (package,) = phone.packages(1)
    given = registration(phone, packages=0)
    item = {"keyPackage": b64(package), "cipherSuite": SUITE}
    phone.device_id = call(served, "registerDevice", phone.did, **given | {"keyPackages": [item]})["deviceId"]
    return package


def test_a_worker_of_its_own_pushes_to_who_was_added(serve: Serve, apple: Apple, tmp_path: Path) -> None:
    served = serve(JWT_SECRET=settings.JWT_SECRET, SSL_CERT_FILE=str(certificate(tmp_path)), **apple.settings)
    alice, bob, convo_id = Phone(ALICE), Phone(BOB), uuid4().hex
    register(served, alice)
    package = register(served, bob)
    call(served, "registerDeviceToken", BOB, deviceId=bob.uuid, pushToken=TOKEN)
    group = alice.new_group(bytes.fromhex(convo_id))
    info = b64(group.group_info(with_tree=True))
    call(served, "createConvo", ALICE, groupId=convo_id, cipherSuite=SUITE, groupInfo=info)
    made = group.commit(add=[package])
    bundle = {"commit": b64(made.commit), "welcomeMessage": b64(made.welcome), "groupInfo": b64(made.group_info)}
    call(served, "addMembers", ALICE, convoId=convo_id, didList=[BOB], **bundle)
    assert apple.arrived.acquire(timeout=ENOUGH_SECONDS)
    assert apple.tokens == [TOKEN]
    assert len(served.children("--queues push")) == len(served.children("--exclude-queues push")) == 1
    ends_cleanly(served, signal.SIGTERM)
