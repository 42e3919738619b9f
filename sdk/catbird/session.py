"""One device at work: its store, its MLS engine, its server.

``change`` is the only way in which MLS state moves. The engine's state and the rows that go with it are
written in one transaction, so that a crash at any instant leaves either all of a step or nothing of it: a
message is never sent under a ratchet key that the file has forgotten, and never lost after its key is used
up.
"""

import asyncio
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from openmls.client import Client as Engine
from openmls.client import Group

from catbird.errors import CatbirdError, ConvoInactive, StoreError
from catbird.methods import Methods
from catbird.rows import ConvoRow, DeviceRow, ExternalSender, State
from catbird.store import Store
from catbird.xrpc import Sleep


class Session:
    """What the parts of the client share. Calls about one convo hold its lock."""

    def __init__(
        self,
        store: Store,
        methods: Methods,
        did: str,
        *,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.methods = methods
        self.sleep = sleep
        self.jitter = jitter
        self.clock = clock
        # Whether the server was asked, since the last connecting, where this device should be.
        self.looked_around = False
        self.device = _device(store, did)
        self.engine = Engine.load(store.engine())
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def did(self) -> str:
        return self.device.did

    @property
    def device_id(self) -> str:
        if self.device.device_id is None:
            raise CatbirdError("this device is not registered yet")
        return self.device.device_id

    def registered(self, device_id: str, name: str, sender: ExternalSender | None = None) -> None:
        with self.store.transaction():
            self.store.set_registration(device_id, name, sender)
        self.device = _device(self.store, self.did)

    def lock(self, convo_id: str) -> asyncio.Lock:
        return self._locks[convo_id]

    @contextmanager
    def change(self) -> Iterator[Engine]:
        """Move MLS state and rows together. Whatever fails inside, both are as they were."""
        try:
            with self.store.transaction():
                yield self.engine
                self.store.set_engine(self.engine.state())
        except BaseException:
            self.engine = Engine.load(self.store.engine())
            raise

    def convo(self, convo_id: str) -> ConvoRow:
        convo = self.store.convo(convo_id)
        if convo is None:
            raise ConvoInactive(f"{convo_id} is not known on this device")
        return convo

    def require_active(self, convo_id: str) -> ConvoRow:
        convo = self.convo(convo_id)
        if convo.state is not State.OK:
            raise ConvoInactive(f"{convo_id} is {convo.state} on this device")
        return convo

    def has_group(self, convo_id: str) -> bool:
        return bytes.fromhex(convo_id) in self.engine.group_ids()

    def group(self, convo_id: str) -> Group:
        """Always asked for anew: an undone change replaces the engine and its groups."""
        return self.engine.group(bytes.fromhex(convo_id))

    def scratch_group(self, convo_id: str) -> Group:
        """A copy to try things on; what happens to it is forgotten."""
        return Engine.load(self.store.engine()).group(bytes.fromhex(convo_id))


def _device(store: Store, did: str) -> DeviceRow:
    """The device of this file, made when the file is new, with an id to repeat its registration under."""
    device = store.device()
    if device is None:
        with store.transaction():
            store.create_device(did, str(uuid.uuid4()), Engine(did.encode()).state())
        device = store.device()
    if device is None or device.did != did:
        raise StoreError(f"{store.path} belongs to another account")
    return device
