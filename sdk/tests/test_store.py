import sqlite3
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from catbird import DevAuth, StoreError
from catbird.methods import Methods
from catbird.rows import ConvoRow, DeviceRow, ExternalSender, Kind, Message, Outgoing, State
from catbird.schema import STEPS
from catbird.session import Session
from catbird.store import Store
from catbird.xrpc import Xrpc

CONVO = ConvoRow("00ff", "Lunch", State.OK, 1, 1, None, False)
SENDER = ExternalSender(b"did:web:localhost", b"key")
MESSAGE = Message(
    "00ff", 3, "m-3", 1, "text", "did:plc:bob", False, {"text": "hi"}, "2026-01-01T00:00:00.000Z"
)
OUTGOING = Outgoing("m-4", "00ff", Kind.MESSAGE, "sendMessage", {"epoch": 1}, b"\x00\xff", "{}", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.db"


def a_session(store: Store, did: str = "did:plc:alice") -> Session:
    auth = DevAuth(did, "secret", "did:web:localhost")
    return Session(store, Methods(Xrpc("http://test", auth)), did)


def test_only_the_owner_can_read_any_of_its_files(path: Path) -> None:
    store = Store(path)
    with store.transaction():
        store.put_convo(CONVO)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    store.close()
    assert set(modes) == {"device.db", "device.db-wal", "device.db-shm", "device.db.lock"}
    assert set(modes.values()) == {0o600}


def test_a_store_is_open_once(path: Path) -> None:
    store = Store(path)
    with pytest.raises(StoreError, match="in use"):
        Store(path)
    store.close()
    store.close()
    Store(path).close()


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    Store(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="later version"):
        Store(path)


def test_a_file_belongs_to_one_account(path: Path) -> None:
    store = Store(path)
    a_session(store)
    with pytest.raises(StoreError, match="another account"):
        a_session(store, "did:plc:bob")
    store.close()


def test_a_file_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    database = sqlite3.connect(path)
    for statement in STEPS[1]:
        database.execute(statement)
    database.execute("INSERT INTO device VALUES (1, 'did:plc:alice', 'uuid', 'device-1', 'phone', x'00')")
    database.execute("INSERT INTO convo VALUES ('00ff', 'Lunch', 'ok', 1, 1, NULL, 0)")
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    store = Store(path)
    assert store.device() == DeviceRow("did:plc:alice", "uuid", "device-1", "phone")
    assert store.convos() == [CONVO]
    store.close()


def test_rows_come_back_as_they_were(path: Path) -> None:
    store = Store(path)
    with store.transaction():
        store.create_device("did:plc:alice", "uuid", b"engine")
        store.set_registration("device-1", "phone", SENDER)
        store.put_convo(CONVO)
        store.put_convo(replace(CONVO, id="00fe", state=State.WAITING, retry_at=17))
        store.add_message(MESSAGE)
        store.put_outgoing(OUTGOING)
        store.set_cursor("*", "17")
    store.close()
    store = Store(path)
    assert store.device() == DeviceRow("did:plc:alice", "uuid", "device-1", "phone", SENDER)
    assert store.convos() == [CONVO, replace(CONVO, id="00fe", state=State.WAITING, retry_at=17)]
    assert store.message("00ff", "m-3") == MESSAGE
    assert store.outbox("00ff") == [OUTGOING]
    assert store.cursor("*") == "17"
    store.close()


def test_a_place_and_an_id_are_taken_once(path: Path) -> None:
    store = Store(path)
    store.add_message(MESSAGE)
    store.add_message(replace(MESSAGE, id="other"))
    store.add_message(replace(MESSAGE, seq=9))
    assert store.messages("00ff", after=0, up_to=None, limit=10) == [MESSAGE]
    store.close()


def test_a_message_encrypted_again_keeps_its_place_in_the_queue(path: Path) -> None:
    store = Store(path)
    store.put_outgoing(OUTGOING)
    store.put_outgoing(replace(OUTGOING, id="m-5"))
    store.put_outgoing(replace(OUTGOING, mls=b"again", epoch=2))
    assert [(row.id, row.mls) for row in store.outbox("00ff")] == [("m-4", b"again"), ("m-5", b"\x00\xff")]
    store.close()


def test_a_process_that_dies_inside_a_transaction_leaves_nothing_of_it(path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from catbird.store import Store\n"
        "store = Store(Path(sys.argv[1])); store.set_cursor('*', 'before')\n"
        "with store.transaction():\n    store.set_cursor('*', 'inside'); os._exit(9)"
    )
    folder = Path(__file__).parent.parent
    died = subprocess.run([sys.executable, "-c", program, str(path)], cwd=folder, check=False)  # noqa: S603 - own code
    assert died.returncode == 9
    store = Store(path)
    assert store.cursor("*") == "before"
    store.close()


def test_a_change_that_fails_takes_back_keys_and_rows_together(path: Path) -> None:
    store = Store(path)
    session = a_session(store)
    with session.change() as engine:
        engine.create_group(bytes.fromhex("00ff"))
    before = store.engine()
    with suppress(RuntimeError), session.change() as engine:
        store.put_convo(CONVO)
        engine.group(bytes.fromhex("00ff")).commit(update=True)
        raise RuntimeError
    assert not session.group("00ff").has_pending_commit
    assert store.engine() == before
    assert store.convos() == []
    store.close()


def test_what_a_change_did_outlives_the_process(path: Path) -> None:
    store = Store(path)
    with a_session(store).change() as engine:
        engine.create_group(bytes.fromhex("00ff"))
    store.close()
    store = Store(path)
    assert a_session(store).group("00ff").epoch == 0
    store.close()
