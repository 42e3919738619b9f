"""Everything of MLS that is refused leaves a row that says why, and nothing of what it was."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest
from django.conf import LazySettings
from django.db.models import F

from journal.models import Refusal
from journal.services import purge
from tests.conftest import Answer, Wire
from tests.devices import ALICE, BOB, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device
from tests.wiring import b64, package_item, registration

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB))


def commit(wire: Wire, talk: Talk, **changes: object) -> Answer:
    made = talk.founder.group(talk.id).commit(update=True)
    talk.founder.group(talk.id).discard()
    given = {"convoId": talk.id, "didList": [], "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    return wire.call("addMembers", **{"by": ALICE} | given | changes)


def knock(wire: Wire, talk: Talk) -> Answer:
    return wire.call("processExternalCommit", by=MALLORY, convoId=talk.id, externalCommit="AAAA", groupInfo="AAAA")


def leave(wire: Wire, talk: Talk) -> Answer:
    return wire.call("leaveConvo", by=BOB, convoId=talk.id, commit="AAAA")


def upload(wire: Wire, talk: Talk) -> Answer:
    return wire.call("updateGroupInfo", by=ALICE, convoId=talk.id, groupInfo="AAAA", epoch=1)


def publish(wire: Wire, talk: Talk) -> Answer:
    return wire.call("publishKeyPackage", by=BOB, **package_item(b"\0\0\0"))


def publish_many(wire: Wire, talk: Talk) -> Answer:
    good = talk.phones[1].packages()[0]
    return wire.call("publishKeyPackages", by=BOB, keyPackages=[package_item(good), package_item(b"\0\0\0")])


def register(wire: Wire, talk: Talk) -> Answer:
    phone = Phone(BOB, "laptop")
    return wire.call("registerDevice", by=BOB, **registration(phone) | {"keyPackages": [package_item(b"\0\0\0")]})


CASES: list[tuple[str, Callable[[Wire, Talk], Answer], str, str]] = [
    ("commit", lambda wire, talk: commit(wire, talk, commit="AAAA"), ALICE, "unsupported."),
    ("commit", lambda wire, talk: commit(wire, talk, by=MALLORY, commit="AAAA"), MALLORY, "NotMember"),
    ("GroupInfo", lambda wire, talk: commit(wire, talk, groupInfo="AAAA"), ALICE, "unsupported."),
    ("Welcome", lambda wire, talk: commit(wire, talk, welcomeMessage="AAAA"), ALICE, "decode."),
    ("external commit", knock, MALLORY, "Unauthorized"),
    ("proposal", leave, BOB, "unsupported."),
    ("GroupInfo", upload, ALICE, "unsupported."),
    ("key package", publish, BOB, "unsupported."),
    ("key package", publish_many, BOB, "unsupported."),
    ("key package", register, BOB, "unsupported."),
]


@pytest.mark.parametrize(("thing", "refused", "did", "code"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_row_says_why(
    wire: Wire, talk: Talk, thing: str, refused: Callable[[Wire, Talk], Answer], did: str, code: str
) -> None:
    refused(wire, talk)
    row = Refusal.objects.get()
    assert (row.thing, row.did, row.size) == (thing, did, 3)
    assert row.code.startswith(code)
    assert row.sha256 == sha256(b"\0\0\0").hexdigest()
    assert row.convo_id == ("" if thing == "key package" else talk.id)
    assert row.epoch == (None if thing == "key package" else 1)
    assert row.nsid.startswith("blue.catbird.mls.")


def test_what_is_accepted_leaves_none(wire: Wire, talk: Talk) -> None:
    a_device(Phone(MALLORY))
    assert commit(wire, talk).status == 200
    assert not Refusal.objects.exists()


def test_old_ones_go(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    publish(wire, talk)
    publish(wire, talk)
    old = Refusal.objects.order_by("pk").values("pk")[:1]
    Refusal.objects.filter(pk__in=old).update(made_at=F("made_at") - timedelta(days=31))
    assert (purge(), purge()) == (1, 0)
    assert Refusal.objects.count() == 1
