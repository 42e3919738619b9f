"""blue.catbird.mls.updateGroupInfo, and coming back into a group the server does not follow"""

import base64
from typing import Any

import pytest

from conversations.models import GroupState, Member
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, MALLORY, Phone
from tests.situations import Talk, a_convo, update
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[True, False], ids=["tracked", "opaque"])
def talk(request: pytest.FixtureRequest) -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), tracked=request.param)


def upload(wire: Wire, talk: Talk, *, by: str | None = ALICE, signer: int = 0, **changes: Any) -> Answer:
    """The valid call, with one thing changed."""
    info = talk.phones[signer].group(talk.id).group_info(with_tree=True)
    given = {"convoId": talk.id, "groupInfo": b64(info), "epoch": 1}
    return wire.call("updateGroupInfo", by=by, **given | changes)


def test_what_was_uploaded_is_read_byte_for_byte(wire: Wire, talk: Talk) -> None:
    info = talk.founder.group(talk.id).group_info(with_tree=True)
    assert upload(wire, talk, groupInfo=b64(info)).body == {"updated": True}
    answer = wire.call("getGroupInfo", by=BOB, convoId=talk.id)
    assert (answer["groupInfo"], answer["epoch"]) == (b64(info), 1)
    tree = talk.founder.group(talk.id).ratchet_tree()
    assert base64.b64decode(answer["ratchetTree"]) == tree


def test_a_device_comes_back_by_it(wire: Wire, talk: Talk) -> None:
    upload(wire, talk)
    bob = talk.phones[1]
    answer = wire.call("getGroupInfo", by=BOB, convoId=talk.id)
    bob.client.forget_group(bytes.fromhex(talk.id))
    _, made = bob.client.join_external(*(base64.b64decode(answer[name]) for name in ("groupInfo", "ratchetTree")))
    given = {"convoId": talk.id, "externalCommit": b64(made.commit), "groupInfo": b64(made.group_info)}
    assert wire.call("processExternalCommit", by=BOB, **given)["epoch"] == 2
    alice = talk.founder.group(talk.id)
    alice.process(made.commit)
    assert bob.group(talk.id).process(alice.encrypt(b"back")).data == b"back"
    assert Member.objects.filter(did=BOB, left_at__isnull=True).count() == 1
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id)["epoch"] == 2


def test_of_a_group_that_moved_on_unseen_there_is_none(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=False)
    upload(wire, talk)
    update(talk, talk.founder)
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id).refusal == (404, "GroupInfoUnavailable")
    answer = upload(wire, talk)
    assert (answer.refusal, answer["currentEpoch"]) == ((409, "EpochMismatch"), 2)
    assert upload(wire, talk, epoch=2).status == 200
    assert GroupState.objects.get().epoch == 2


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"by": MALLORY}, (403, "Unauthorized")),
        ({"by": None}, (401, "AuthenticationRequired")),
        ({"convoId": "nowhere"}, (403, "Unauthorized")),
        ({"groupInfo": "AAAA"}, (400, "InvalidGroupInfo")),
        ({"groupInfo": "***"}, (400, "InvalidRequest")),
        ({"epoch": 0}, (409, "EpochMismatch")),
        ({"epoch": 2}, (409, "EpochMismatch")),
        ({"signer": 1}, (400, "InvalidGroupInfo")),
        ({"deviceId": "unknown"}, (404, "DeviceNotFound")),
    ],
)
def test_refusals(wire: Wire, talk: Talk, changes: dict[str, Any], refusal: tuple[int, str]) -> None:
    with leaves_no_trace():
        answer = upload(wire, talk, **changes)
        assert answer.refusal == refusal, answer.body


def test_a_group_info_of_another_group_or_state_is_refused(wire: Wire, talk: Talk) -> None:
    other = talk.founder.client.create_group(b"another group")
    other.commit(update=True)
    other.confirm()
    group = talk.founder.group(talk.id)
    group.commit(update=True)
    group.confirm()
    with leaves_no_trace():
        for info in (other.group_info(with_tree=True), group.group_info(with_tree=True)):
            assert upload(wire, talk, groupInfo=b64(info)).refusal == (400, "InvalidGroupInfo")


def test_without_a_tree_the_server_knows_too_little_of_an_opaque_group(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=False)
    info = talk.founder.group(talk.id).group_info()
    with leaves_no_trace():
        assert upload(wire, talk, groupInfo=b64(info)).refusal == (400, "InvalidGroupInfo")
