"""blue.catbird.mls.getCommits"""

import pytest

from conversations import pages
from tests.conftest import Wire
from tests.devices import ALICE, BOB, MALLORY, Phone
from tests.situations import Talk, a_convo, update

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    """A convo at epoch 4."""
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for _ in range(3):
        update(talk, talk.founder)
    return talk


def epochs(wire: Wire, talk: Talk, **fields: object) -> list[int]:
    return [one["epoch"] for one in wire.call("getCommits", by=BOB, convoId=talk.id, **fields)["commits"]]


def test_a_commit_is_labelled_with_the_epoch_it_leads_to(wire: Wire, talk: Talk) -> None:
    answer = wire.call("getCommits", by=BOB, convoId=talk.id, fromEpoch=1)
    assert [one["epoch"] for one in answer["commits"]] == [1, 2, 3, 4]
    assert {one["sender"] for one in answer["commits"]} == {ALICE}
    assert "cursor" not in answer.body


def test_any_range_is_honoured(wire: Wire, talk: Talk) -> None:
    assert epochs(wire, talk, fromEpoch=2, toEpoch=3) == [2, 3]
    assert epochs(wire, talk, fromEpoch=4, toEpoch=4) == [4]
    assert epochs(wire, talk, fromEpoch=5) == []


def test_pages_follow_one_another(wire: Wire, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "COMMITS_PAGE", 3)
    first = wire.call("getCommits", by=BOB, convoId=talk.id, fromEpoch=0)
    assert [one["epoch"] for one in first["commits"]] == [1, 2, 3]
    assert epochs(wire, talk, fromEpoch=0, cursor=first["cursor"]) == [4]


def test_refusals(wire: Wire, talk: Talk) -> None:
    ask = {"convoId": talk.id, "fromEpoch": 0}
    assert wire.call("getCommits", by=MALLORY, **ask).refusal == (403, "NotMember")
    assert wire.call("getCommits", by=ALICE, **ask | {"convoId": "nowhere"}).refusal == (403, "NotMember")
    assert wire.call("getCommits", by=ALICE, **ask | {"fromEpoch": 3, "toEpoch": 2}).refusal == (
        400,
        "InvalidEpochRange",
    )
    assert wire.call("getCommits", by=ALICE, **ask, cursor="x").refusal == (400, "InvalidCursor")
    assert wire.call("getCommits", by=ALICE, convoId=talk.id).refusal == (400, "InvalidRequest")
    assert wire.call("getCommits", by=None, **ask).refusal == (401, "AuthenticationRequired")
