"""blue.catbird.mls.createConvo"""

from typing import Any
from uuid import uuid4

import pytest

from conversations.models import Convo, GroupState, Member
from delivery.models import Mailbox
from tests.conftest import Answer, Wire, leaves_no_trace
from tests.devices import ALICE, BOB, SUITE, Phone
from tests.situations import a_device, packages_of
from tests.wiring import b64

pytestmark = pytest.mark.django_db

P256 = "MLS_128_DHKEMP256_AES128GCM_SHA256_P256"


def creation(phone: Phone, **changes: Any) -> dict[str, Any]:
    """A tracked convo of one device."""
    convo_id = uuid4().hex
    group = phone.client.create_group(bytes.fromhex(convo_id))
    return {
        "groupId": convo_id,
        "cipherSuite": SUITE,
        "groupInfo": b64(group.group_info(with_tree=True)),
        "metadata": {"name": "Lunch"},
    } | changes


def alices() -> Phone:
    phone = Phone(ALICE)
    a_device(phone)
    return phone


def test_a_tracked_convo_has_its_creators_leaf_and_nothing_else(wire: Wire) -> None:
    phone = alices()
    answer = wire.call("createConvo", by=ALICE, **creation(phone))
    assert (answer["mode"], answer["epoch"], answer["lastSeq"]) == ("tracked", 0, 0)
    (member,) = answer["members"]
    assert (member["did"], member["deviceId"], member["leafIndex"], member["isAdmin"]) == (
        ALICE,
        phone.device_id,
        0,
        True,
    )
    state = GroupState.objects.get()
    assert state.epoch == 0
    assert bytes(state.ratchet_tree) == phone.group(answer["groupId"]).ratchet_tree()
    assert Mailbox.objects.get().first_seq == 1


def test_the_tree_may_come_apart_from_the_group_info(wire: Wire) -> None:
    phone = alices()
    given = creation(phone)
    group = phone.group(given["groupId"])
    given |= {"groupInfo": b64(group.group_info()), "ratchetTree": b64(group.ratchet_tree())}
    assert wire.call("createConvo", by=ALICE, **given)["mode"] == "tracked"


def test_an_opaque_convo_has_its_invitees_from_the_start(wire: Wire) -> None:
    alices()
    given = {"groupId": uuid4().hex.upper(), "cipherSuite": SUITE, "initialMembers": [BOB, ALICE]}
    answer = wire.call("createConvo", by=ALICE, **given)
    assert answer["mode"] == "opaque"
    assert answer["groupId"] == given["groupId"].lower()
    assert [member["did"] for member in answer["members"]] == [ALICE, BOB]
    assert not GroupState.objects.exists()


def test_an_opaque_convo_takes_the_welcome_along(wire: Wire) -> None:
    alice, bob = alices(), Phone(BOB)
    a_device(bob)
    convo_id = uuid4().hex
    group = alice.client.create_group(bytes.fromhex(convo_id), private_handshake=True)
    welcome = group.commit(add=packages_of(bob)).welcome
    assert welcome is not None
    given = {"groupId": convo_id, "cipherSuite": SUITE, "initialMembers": [BOB], "welcomeMessage": b64(welcome)}
    answer = wire.call("createConvo", by=ALICE, **given)
    assert [member.get("deviceId") for member in answer["members"]] == [alice.device_id, bob.device_id]
    assert wire.call("getWelcome", by=BOB, convoId=convo_id)["welcome"] == b64(welcome)


@pytest.mark.parametrize("tracked", [True, False])
def test_asking_twice_gets_the_same_convo(wire: Wire, tracked: bool) -> None:
    phone = alices()
    given = creation(phone)
    if not tracked:
        del given["groupInfo"]
    first = wire.call("createConvo", by=ALICE, **given)
    with leaves_no_trace():
        assert wire.call("createConvo", by=ALICE, **given).body == first.body


def test_a_group_id_belongs_to_its_creator(wire: Wire) -> None:
    given = creation(alices())
    wire.call("createConvo", by=ALICE, **given)
    bob = Phone(BOB)
    a_device(bob)
    theirs = bob.client.create_group(bytes.fromhex(given["groupId"])).group_info(with_tree=True)
    with leaves_no_trace():
        answer = wire.call("createConvo", by=BOB, **given | {"groupInfo": b64(theirs)})
    assert answer.refusal == (409, "ConvoAlreadyExists")


def refused(wire: Wire, case: str) -> Answer:
    phone = alices()
    group = phone.client.create_group(uuid4().bytes)
    crowd = phone.client.create_group(uuid4().bytes)
    crowd.commit(add=Phone(BOB).packages())
    crowd.confirm()
    stranger = Phone(ALICE).client.create_group(uuid4().bytes)
    impostor = Phone(BOB)
    changes: dict[str, Any] = {
        "no group id": {"groupId": None},
        "not a group id": {"groupId": "xyz"},
        "a long group id": {"groupId": "ab" * 65},
        "an unknown suite": {"cipherSuite": "MLS_999"},
        "another suite": {"cipherSuite": P256},
        "an unverifiable suite": {"cipherSuite": "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448"},
        "nonsense": {"groupInfo": b64(b"nonsense")},
        "another group": {"groupInfo": b64(group.group_info(with_tree=True))},
        "no tree": {"groupInfo": b64(group.group_info()), "groupId": group.group_id.hex()},
        "two members": {"groupInfo": b64(crowd.group_info(with_tree=True)), "groupId": crowd.group_id.hex()},
        "an unknown key": {"groupInfo": b64(stranger.group_info(with_tree=True)), "groupId": stranger.group_id.hex()},
        "another account": {
            "groupInfo": b64(impostor.client.create_group(b"impostor").group_info(with_tree=True)),
            "groupId": b"impostor".hex(),
        },
        "an unknown device": {"deviceId": "unknown"},
        "a long name": {"metadata": {"name": "x" * 129}},
    }[case]
    with leaves_no_trace():
        return wire.call("createConvo", by=ALICE, **creation(phone, **changes))


@pytest.mark.parametrize(
    ("case", "refusal"),
    [
        ("no group id", (400, "InvalidRequest")),
        ("not a group id", (400, "InvalidRequest")),
        ("a long group id", (400, "InvalidRequest")),
        ("an unknown suite", (400, "InvalidCipherSuite")),
        ("another suite", (400, "InvalidGroupInfo")),
        ("an unverifiable suite", (400, "InvalidCipherSuite")),
        ("nonsense", (400, "InvalidGroupInfo")),
        ("another group", (400, "InvalidGroupInfo")),
        ("no tree", (400, "InvalidGroupInfo")),
        ("two members", (400, "InvalidGroupInfo")),
        ("an unknown key", (400, "InvalidGroupInfo")),
        ("another account", (400, "InvalidGroupInfo")),
        ("an unknown device", (404, "DeviceNotFound")),
        ("a long name", (400, "InvalidRequest")),
    ],
)
def test_refusals(wire: Wire, case: str, refusal: tuple[int, str]) -> None:
    assert refused(wire, case).refusal == refusal
    assert not Convo.objects.exists()
    assert not Member.objects.exists()


def test_a_welcome_for_an_unknown_package_founds_nothing(wire: Wire) -> None:
    alice, bob = alices(), Phone(BOB)
    convo_id = uuid4().hex
    group = alice.client.create_group(bytes.fromhex(convo_id), private_handshake=True)
    welcome = group.commit(add=bob.packages()).welcome
    assert welcome is not None
    given = {"groupId": convo_id, "cipherSuite": SUITE, "initialMembers": [BOB], "welcomeMessage": b64(welcome)}
    with leaves_no_trace():
        answer = wire.call("createConvo", by=ALICE, **given)
        assert answer.refusal == (409, "KeyPackageNotFound")
        assert "hash=" in answer["message"]
        assert wire.call("createConvo", by=ALICE, **given | {"welcomeMessage": "AAAA"}).refusal == (
            400,
            "InvalidWelcome",
        )


def test_a_stranger_is_asked_for_a_token(wire: Wire) -> None:
    assert wire.call("createConvo", by=None).refusal == (401, "AuthenticationRequired")
