"""blue.catbird.mls.processExternalCommit and getGroupInfo"""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone
from openmls.client import CommitBundle
from prometheus_client import REGISTRY

from conversations.models import Convo, Left, Member, RejoinAttempt, Rollout
from conversations.rejoining import EXTERNAL_COMMITS, external_commits_enabled, verify_can_rejoin
from tests.conftest import Answer, Wire, everything_written
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device, bring_in, remove, update
from tests.wiring import b64

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))


def door(wire: Wire, talk: Talk, *, by: str = BOB) -> tuple[bytes, bytes]:
    answer = wire.call("getGroupInfo", by=by, convoId=talk.id)
    return base64.b64decode(answer["groupInfo"]), base64.b64decode(answer["ratchetTree"])


def knock(wire: Wire, talk: Talk, phone: Phone, *, by: str = BOB) -> CommitBundle:
    """The phone forgets its group and commits itself in again."""
    group_info, tree = door(wire, talk, by=by)
    if bytes.fromhex(talk.id) in phone.client.group_ids():
        phone.client.forget_group(bytes.fromhex(talk.id))
    _, made = phone.client.join_external(group_info, tree)
    return made


def come_back(wire: Wire, talk: Talk, made: CommitBundle, *, by: str | None = BOB, **changes: Any) -> Answer:
    given = {"convoId": talk.id, "externalCommit": b64(made.commit), "groupInfo": b64(made.group_info)}
    return wire.call("processExternalCommit", by=by, **given | changes)


def written_but_for_the_audit() -> dict[str, str]:
    return {name: content for name, content in everything_written().items() if "rejoinattempt" not in name}


def test_get_group_info_authorized(wire: Wire, talk: Talk) -> None:
    answer = wire.call("getGroupInfo", by=BOB, convoId=talk.id)
    assert answer["epoch"] == talk.convo.epoch
    assert base64.b64decode(answer["ratchetTree"]) == talk.founder.group(talk.id).ratchet_tree()


def test_get_group_info_unauthorized(wire: Wire, talk: Talk) -> None:
    refused = wire.call("getGroupInfo", by=MALLORY, convoId=talk.id)
    assert refused.refusal == (403, "Unauthorized")
    assert refused.body == wire.call("getGroupInfo", by=MALLORY, convoId="nowhere").body
    assert wire.call("getGroupInfo", by=None, convoId=talk.id).refusal == (401, "AuthenticationRequired")


def test_group_info_freshness(wire: Wire, talk: Talk) -> None:
    for phone in talk.phones:
        update(talk, phone)
        answer = wire.call("getGroupInfo", by=BOB, convoId=talk.id)
        assert answer["epoch"] == talk.convo.epoch
        late = Phone(BOB)
        assert late.client.join_external(*door(wire, talk))[0].epoch == talk.convo.epoch + 1


def test_external_commit_success(wire: Wire, talk: Talk) -> None:
    bob = talk.phones[1]
    old_leaf = Member.objects.get(did=BOB)
    made = knock(wire, talk, bob)
    answer = come_back(wire, talk, made)
    assert (answer["epoch"], answer["seq"]) == (2, 2)
    old_leaf.refresh_from_db()
    assert old_leaf.left_at is not None
    (member,) = Member.objects.filter(did=BOB, left_at__isnull=True)
    assert (member.device_id, member.joined_epoch) == (bob.device_id, 2)
    alice = talk.founder.group(talk.id)
    alice.process(made.commit)
    assert bob.group(talk.id).process(alice.encrypt(b"back")).data == b"back"
    leaves = {leaf.leaf_index for leaf in alice.members()}
    assert set(Member.objects.filter(left_at__isnull=True).values_list("leaf_index", flat=True)) == leaves


def test_the_next_joiner_comes_in_by_the_group_info_of_an_external_commit(wire: Wire, talk: Talk) -> None:
    first = knock(wire, talk, talk.phones[1])
    come_back(wire, talk, first)
    second = knock(wire, talk, talk.phones[2], by=CAROL)
    assert come_back(wire, talk, second, by=CAROL)["epoch"] == 3


def test_repeating_it_gets_the_first_answer(wire: Wire, talk: Talk) -> None:
    made = knock(wire, talk, talk.phones[1])
    first = come_back(wire, talk, made, idempotencyKey="k1")
    assert come_back(wire, talk, made, idempotencyKey="k1").body == first.body
    assert come_back(wire, talk, made).body == first.body
    assert talk.convo.epoch == 2


def test_external_commit_epoch_mismatch(wire: Wire, talk: Talk) -> None:
    made = knock(wire, talk, talk.phones[1])
    talk.phones.pop(1)
    update(talk, talk.founder)
    before = written_but_for_the_audit()
    answer = come_back(wire, talk, made)
    assert (answer.refusal, answer["currentEpoch"]) == ((409, "EpochMismatch"), 2)
    assert written_but_for_the_audit() == before


def _of_an_unregistered_device(wire: Wire, talk: Talk) -> CommitBundle:
    return Phone(BOB).client.join_external(*door(wire, talk))[1]


def _of_another_account(wire: Wire, talk: Talk) -> CommitBundle:
    carol = talk.phones[2]
    return knock(wire, talk, carol)


def _sound(wire: Wire, talk: Talk) -> CommitBundle:
    return knock(wire, talk, talk.phones[1])


@pytest.mark.parametrize(
    ("make", "changes", "refusal"),
    [
        (_of_an_unregistered_device, {}, (403, "Unauthorized")),
        (_of_another_account, {}, (403, "Unauthorized")),
        (_sound, {"groupInfo": None}, (400, "InvalidCommit")),
        (_sound, {"groupInfo": "AAAA"}, (400, "InvalidGroupInfo")),
        (_sound, {"externalCommit": "AAAA"}, (400, "InvalidCommit")),
        (_sound, {"by": MALLORY}, (403, "Unauthorized")),
        (_sound, {"by": None}, (401, "AuthenticationRequired")),
        (_sound, {"convoId": "nowhere"}, (403, "Unauthorized")),
        (_sound, {"deviceId": "unknown"}, (404, "DeviceNotFound")),
        (_sound, {"externalCommit": None}, (400, "InvalidRequest")),
    ],
)
def test_external_commit_unauthorized(
    wire: Wire,
    talk: Talk,
    make: Callable[[Wire, Talk], CommitBundle],
    changes: dict[str, Any],
    refusal: tuple[int, str],
) -> None:
    made = make(wire, talk)
    before = written_but_for_the_audit()
    answer = come_back(wire, talk, made, **changes)
    assert answer.refusal == refusal, answer.body
    assert written_but_for_the_audit() == before


def test_external_commit_adds_wrong_user(wire: Wire, talk: Talk) -> None:
    """Mallory registers the key of a device of her own and commits herself in under Bob's name."""
    impostor = Phone(BOB)
    a_device(Phone(MALLORY))
    made = impostor.client.join_external(*door(wire, talk))[1]
    assert come_back(wire, talk, made, by=MALLORY).refusal == (403, "Unauthorized")


def test_an_ordinary_commit_does_not_pass_for_an_external_one(wire: Wire, talk: Talk) -> None:
    made = talk.phones[1].group(talk.id).commit(update=True)
    assert come_back(wire, talk, made).refusal == (400, "InvalidCommit")


def test_the_leaf_of_another_device_of_the_account_stays(wire: Wire) -> None:
    laptop = Phone(BOB, "laptop")
    talk = a_convo(Phone(ALICE), Phone(BOB), laptop)
    made = knock(wire, talk, talk.phones[1])
    assert come_back(wire, talk, made).status == 200
    assert Member.objects.filter(did=BOB, left_at__isnull=True).count() == 2
    talk.founder.group(talk.id).process(made.commit)
    laptop.group(talk.id).process(made.commit)
    said = talk.founder.group(talk.id).encrypt(b"both")
    assert {phone.group(talk.id).process(said).data for phone in talk.phones[1:]} == {b"both"}


def test_a_new_device_of_a_member_lets_itself_in(wire: Wire, talk: Talk) -> None:
    laptop = Phone(BOB, "laptop")
    a_device(laptop)
    _, made = laptop.client.join_external(*door(wire, talk))
    assert come_back(wire, talk, made).status == 200
    assert Member.objects.filter(did=BOB, left_at__isnull=True).count() == 2


def test_a_device_that_was_installed_anew_leaves_its_old_leaf_to_the_members(wire: Wire, talk: Talk) -> None:
    bob = talk.phones[1]
    fresh = Phone(BOB, uuid=bob.uuid)
    a_device(fresh)
    assert fresh.device_id == bob.device_id
    made = fresh.client.join_external(*door(wire, talk))[1]
    assert come_back(wire, talk, made)["epoch"] == 2
    old, new = Member.objects.filter(did=BOB).order_by("pk")
    assert (old.leaving_at is not None, new.leaving_at) == (True, None)
    talk.founder.group(talk.id).process(made.commit)
    leaves = {leaf.leaf_index for leaf in talk.founder.group(talk.id).members()}
    assert set(Member.objects.filter(left_at__isnull=True).values_list("leaf_index", flat=True)) == leaves


def test_an_admin_that_comes_back_is_an_admin(wire: Wire, talk: Talk) -> None:
    made = knock(wire, talk, talk.founder, by=ALICE)
    assert come_back(wire, talk, made, by=ALICE).status == 200
    assert Member.objects.get(did=ALICE, left_at__isnull=True).is_admin


def test_an_opaque_group_is_joined_by_what_its_commits_bring(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), tracked=False)
    assert wire.call("getGroupInfo", by=ALICE, convoId=talk.id).refusal == (404, "GroupInfoUnavailable")
    bring_in(talk, talk.founder, Phone(BOB))
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id)["epoch"] == 1
    made = knock(wire, talk, talk.phones[1])
    assert come_back(wire, talk, made)["epoch"] == 2


def test_every_attempt_leaves_a_row_and_the_sixth_is_too_many(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    made = _of_an_unregistered_device(wire, talk)
    for _ in range(5):
        assert come_back(wire, talk, made).refusal == (403, "Unauthorized")
    assert come_back(wire, talk, made).refusal == (429, "RateLimitExceeded")
    assert RejoinAttempt.objects.count() == 5
    RejoinAttempt.objects.update(made_at=timezone.now() - timedelta(hours=2))
    accepted = knock(wire, talk, talk.phones[1])
    assert come_back(wire, talk, accepted).status == 200
    newest = RejoinAttempt.objects.latest("pk")
    assert (newest.outcome, newest.epoch, newest.size) == ("accepted", 2, len(accepted.commit))


def test_what_becomes_of_them_is_counted(wire: Wire, talk: Talk) -> None:
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    names = ("external_commit_requests_total", "external_commit_latency_seconds_count")
    before = [counted(name, outcome=outcome) for name in names for outcome in ("accepted", "Unauthorized")]
    won = counted("external_commit_success_total", mode="tracked")
    come_back(wire, talk, _of_an_unregistered_device(wire, talk))
    come_back(wire, talk, knock(wire, talk, talk.phones[1]))
    after = [counted(name, outcome=outcome) for name in names for outcome in ("accepted", "Unauthorized")]
    assert after == [number + 1 for number in before]
    assert counted("external_commit_success_total", mode="tracked") == won + 1


STATES: list[tuple[str, Callable[[Talk], None], bool]] = [
    ("member", lambda talk: None, True),
    ("leaving", lambda talk: _left(talk, leaving_at=timezone.now(), left_how=Left.LEFT), True),
    ("left 29 days ago", lambda talk: _ended(talk, days=29, how="left"), True),
    ("left 31 days ago", lambda talk: _ended(talk, days=31, how="left"), False),
    ("removed", lambda talk: remove(talk, talk.founder, BOB), False),
    ("never a member", lambda talk: _forgotten(talk), False),
]


def _left(talk: Talk, **fields: Any) -> None:
    Member.objects.filter(convo_id=talk.id, did=BOB).update(**fields)


def _ended(talk: Talk, *, days: int, how: str) -> None:
    ago = timezone.now() - timedelta(days=days)
    _left(talk, left_at=ago, left_seq=1, left_epoch=1, left_how=how)


def _forgotten(talk: Talk) -> None:
    Member.objects.filter(convo_id=talk.id, did=BOB).delete()


@pytest.mark.parametrize(("build", "may"), [(build, may) for _, build, may in STATES], ids=[one[0] for one in STATES])
def test_who_may_come_back(talk: Talk, build: Callable[[Talk], None], may: bool) -> None:
    build(talk)
    assert verify_can_rejoin(Convo.objects.get(pk=talk.id), BOB) is may


def test_switched_off_nobody_comes_back_but_those_named(talk: Talk) -> None:
    Rollout.objects.create(name=EXTERNAL_COMMITS, percent=0, internal_dids=f"{CAROL}\n")
    assert not verify_can_rejoin(talk.convo, BOB)
    assert verify_can_rejoin(talk.convo, CAROL)


def test_a_wider_rollout_contains_every_narrower_one() -> None:
    accounts = [f"did:plc:friend{number}" for number in range(300)]
    before: set[str] = set()
    for percent in (0, 10, 50, 100):
        Rollout.objects.update_or_create(name=EXTERNAL_COMMITS, defaults={"percent": percent})
        enabled = {did for did in accounts if external_commits_enabled(did)}
        assert before <= enabled
        assert abs(len(enabled) - 3 * percent) < 30
        before = enabled
    assert len(before) == 300


@pytest.mark.parametrize("removed_last", [True, False])
def test_what_happened_last_decides_whichever_device_it_happened_to(removed_last: bool) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(BOB, "laptop"))
    now = timezone.now()
    left, removed = Member.objects.filter(did=BOB).order_by("-pk" if removed_last else "pk")
    ended = {"left_seq": 5, "left_epoch": 5}
    days = (2, 1) if removed_last else (1, 2)
    Member.objects.filter(pk=left.pk).update(left_at=now - timedelta(days=days[0]), left_how=Left.LEFT, **ended)
    Member.objects.filter(pk=removed.pk).update(left_at=now - timedelta(days=days[1]), left_how=Left.REMOVED, **ended)
    assert verify_can_rejoin(talk.convo, BOB) is not removed_last


def test_a_lost_race_is_no_attempt(wire: Wire, talk: Talk) -> None:
    bob = talk.phones.pop(1)
    for _ in range(6):
        made = knock(wire, talk, bob)
        update(talk, talk.founder)
        assert come_back(wire, talk, made).refusal == (409, "EpochMismatch")
    assert come_back(wire, talk, knock(wire, talk, bob)).status == 200


def test_who_was_let_in_and_asks_again_gets_the_first_answer_however_often(wire: Wire, talk: Talk) -> None:
    refused = _of_an_unregistered_device(wire, talk)
    for _ in range(4):
        assert come_back(wire, talk, refused).status == 403
    made = knock(wire, talk, talk.phones[1])
    first = come_back(wire, talk, made, idempotencyKey="k")
    assert first.status == 200
    for again in ({"idempotencyKey": "k"}, {}):
        assert come_back(wire, talk, made, **again).body == first.body
    assert come_back(wire, talk, refused).refusal == (429, "RateLimitExceeded")
