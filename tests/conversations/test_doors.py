"""A GroupInfo that a device can join by is prepared after each commit, and asked for where there is none."""

import base64
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db.models import F
from django.utils import timezone

from conversations import doors
from conversations.doors import ask_for_group_infos, door_of, regenerate, want_group_info
from conversations.framing import fault_for_joiners
from conversations.hints import open_hints
from conversations.models import Epoch, GroupInfoRequest, GroupState, Member
from conversations.nudges import regenerate_group_infos
from conversations.selectors import Asking
from conversations.services import settle_welcome
from delivery.courier import courier
from delivery.hub import Hint
from tests.conftest import Wire
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.live import PATIENCE_SECONDS
from tests.situations import Talk, a_convo, bring_in, remove, update

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Hint]:
    """What the members are asked, in order."""
    hints: list[Hint] = []
    monkeypatch.setattr(doors, "carry_hint", hints.append)
    return hints


def failing_for(group_info: bytes) -> Callable[[bytes, bytes], str]:
    def looked_at(found: bytes, ratchet_tree: bytes) -> str:
        if found == group_info:
            raise RuntimeError
        return fault_for_joiners(found, ratchet_tree)

    return looked_at


def due() -> None:
    """The time for the next question has come."""
    GroupInfoRequest.objects.update(next_at=timezone.now() - timedelta(seconds=1))


def test_what_is_prepared_is_what_is_read(talk: Talk) -> None:
    GroupState.objects.update(checked_at=None)
    before = door_of(talk.convo)
    assert before is not None
    regenerate_group_infos()
    regenerate_group_infos()
    state = GroupState.objects.get()
    assert (state.fault, state.checked_at is not None) == ("", True)
    GroupState.objects.update(group_info=b"somebody else's")
    again = door_of(talk.convo)
    assert again is not None
    assert (again.group_info, again.ratchet_tree) == (before.group_info, before.ratchet_tree)
    update(talk, talk.founder)
    now = door_of(talk.convo)
    assert now is not None
    assert now.epoch == before.epoch + 1
    assert now.ratchet_tree == talk.founder.group(talk.id).ratchet_tree()


@pytest.mark.django_db(transaction=True)
def test_no_commit_waits_until_the_worker_has_been_told(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(regenerate_group_infos, "delay", lambda: told.append(threading.current_thread().name))
    assert courier.settle(PATIENCE_SECONDS)
    told.clear()
    update(talk, talk.founder)
    assert courier.settle(PATIENCE_SECONDS)
    assert told == ["courier"]


def test_an_epoch_that_ends_while_the_door_is_looked_for_is_no_closed_door(talk: Talk) -> None:
    read_before = talk.convo
    update(talk, talk.founder)
    door = door_of(read_before)
    assert door is not None
    assert door.epoch == read_before.epoch + 1
    assert not GroupInfoRequest.objects.exists()


def test_without_a_bus_it_is_read_from_the_database(wire: Wire, talk: Talk, settings: LazySettings) -> None:
    options = {"socket_timeout": 1, "socket_connect_timeout": 1}
    backend = "django.core.cache.backends.redis.RedisCache"
    nowhere = {"BACKEND": backend, "LOCATION": "redis://127.0.0.1:1", "OPTIONS": options}
    settings.CACHES = {"default": nowhere}
    regenerate()
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id)["epoch"] == 1


def test_a_group_that_nobody_could_join_is_found_and_its_members_asked(talk: Talk, told: list[Hint]) -> None:
    of_no_epoch = talk.founder.group(talk.id).commit(update=True).group_info
    GroupState.objects.update(group_info=of_no_epoch, checked_at=None)
    regenerate()
    fault = GroupState.objects.get().fault
    assert fault.startswith(("group_info.", "tree."))
    assert GroupInfoRequest.objects.get().cause == fault
    assert ask_for_group_infos() == 1
    assert ask_for_group_infos() == 0


def test_a_state_that_cannot_be_looked_at_keeps_no_other_waiting(
    talk: Talk, told: list[Hint], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = a_convo(Phone(CAROL))
    monkeypatch.setattr(doors, "REGENERATED_AT_ONCE", 1)
    monkeypatch.setattr(doors, "fault_for_joiners", failing_for(bytes(GroupState.objects.get(pk=talk.id).group_info)))
    regenerate()
    faults = dict(GroupState.objects.filter(checked_at__isnull=False).values_list("convo_id", "fault"))
    assert faults == {talk.id: "group_info.unreadable", other.id: ""}


def test_of_a_commit_in_the_meantime_nothing_is_said(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(*_: bytes) -> str:
        GroupState.objects.update(epoch=F("epoch") + 1)
        return "group_info.missing_external_pub"

    monkeypatch.setattr(doors, "REGENERATED_AT_ONCE", 2)
    monkeypatch.setattr(doors, "fault_for_joiners", overtaken)
    regenerate()
    state = GroupState.objects.get()
    assert (state.epoch, state.checked_at, state.fault) == (2, None, "")
    assert not GroupInfoRequest.objects.exists()


def test_a_device_that_has_joined_has_the_door_looked_at_again(talk: Talk) -> None:
    regenerate()
    settle_welcome(convo_id=talk.id, who=Asking(BOB), success=True, details="")
    assert GroupState.objects.get().checked_at is None
    GroupState.objects.all().delete()
    settle_welcome(convo_id=talk.id, who=Asking(BOB), success=True, details="")
    assert GroupInfoRequest.objects.get().convo_id == talk.id


def test_members_are_asked_one_after_the_other_and_ever_less_often(talk: Talk, told: list[Hint]) -> None:
    want_group_info(talk.id, "lost")
    want_group_info(talk.id, "another cause")
    waits = []
    for _ in range(3):
        due()
        assert ask_for_group_infos() == 1
        request = GroupInfoRequest.objects.get()
        waits.append((request.next_at - timezone.now()).total_seconds())
    assert [hint.did for hint in told] == [ALICE, BOB, ALICE]
    assert {hint.name for hint in told} == {"groupInfoRefreshRequestedEvent"}
    assert told[0].device_id == talk.founder.device_id
    assert waits == sorted(waits)
    GroupInfoRequest.objects.update(asked=F("asked") + 1000)
    due()
    ask_for_group_infos()
    wait = GroupInfoRequest.objects.get().next_at - timezone.now()
    assert wait <= timedelta(hours=1)


def test_who_connects_is_told_and_a_commit_answers(talk: Talk) -> None:
    want_group_info(talk.id, "lost")
    assert [hint.name for hint in open_hints([talk.id])] == ["groupInfoRefreshRequestedEvent"]
    update(talk, talk.founder)
    assert open_hints([talk.id]) == []


def test_an_upload_answers(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=False)
    assert not GroupInfoRequest.objects.exists()
    update(talk, talk.founder)
    assert GroupInfoRequest.objects.get().convo_id == talk.id
    info = base64.b64encode(talk.founder.group(talk.id).group_info(with_tree=True)).decode()
    assert wire.call("updateGroupInfo", by=ALICE, convoId=talk.id, groupInfo=info, epoch=2).status == 200
    assert not GroupInfoRequest.objects.exists()


def test_nobody_is_asked_where_nobody_is(talk: Talk, told: list[Hint]) -> None:
    want_group_info(talk.id, "lost")
    Member.objects.update(leaving_at=timezone.now(), left_how="left")
    assert ask_for_group_infos() == 0
    assert not GroupInfoRequest.objects.exists()
    assert told == []


def test_a_lost_device_of_an_opaque_convo_has_the_members_asked(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), tracked=False)
    bring_in(talk, talk.founder, Phone(BOB))
    update(talk, talk.founder)
    GroupInfoRequest.objects.all().delete()
    assert wire.call("groupInfoRefresh", by=BOB, convoId=talk.id)["requested"] is True
    assert GroupInfoRequest.objects.get().convo_id == talk.id


def test_the_ledger_tells_who_came_and_went_in_each_epoch(talk: Talk) -> None:
    carol = Phone(CAROL)
    bring_in(talk, talk.phones[1], carol)
    remove(talk, talk.founder, BOB)
    lines = Epoch.objects.filter(convo_id=talk.id).order_by("epoch")
    told = [
        (line.epoch, line.nsid.rpartition(".")[2], line.committer_did, _dids(line.added), _dids(line.removed))
        for line in lines
    ]
    assert told == [
        (0, "createConvo", ALICE, [ALICE], []),
        (1, "addMembers", ALICE, [BOB], []),
        (2, "addMembers", BOB, [CAROL], []),
        (3, "removeMember", ALICE, [], [BOB]),
    ]
    assert lines[2].added == [[CAROL, carol.device_id, 2]]


def _dids(devices: list[list[str]]) -> list[str]:
    return [device[0] for device in devices]
