"""Every device of a convo commits on one epoch: all get in, one after the other, each from what its refusal told it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from conversations import conflicts
from conversations.errors import EpochMismatch
from conversations.models import Message
from conversations.selectors import Asking
from conversations.services import add_members
from tests.devices import Phone
from tests.races.storms import a_gathering, catch_up, commit_until_in, everybody_catches_up
from tests.races.threads import at_once, failures, succeeded
from tests.situations import Talk, bundle_of

pytestmark = pytest.mark.django_db(transaction=True)

DEVICES = 12


def require_all_in(talk: Talk) -> None:
    assert talk.convo.epoch == 1 + DEVICES
    commits = Message.objects.filter(convo_id=talk.id, kind="commit").order_by("seq")
    assert list(commits.values_list("epoch", flat=True)) == list(range(1, DEVICES + 2))
    assert set(commits[1:].values_list("sender_did", flat=True)) == {phone.did for phone in talk.phones}
    assert len(everybody_catches_up(talk, *talk.phones)) == 1


def test_all_get_in() -> None:
    talk = a_gathering(DEVICES)
    results = at_once([partial(commit_until_in, talk, phone) for phone in talk.phones])
    assert failures(results) == []
    # Whoever loses, loses to another's success: nobody can be overtaken more often than there are others.
    assert max(succeeded(results)) <= DEVICES
    require_all_in(talk)


def offering(talk: Talk, phone: Phone) -> Callable[[], Any]:
    made = bundle_of(phone.group(talk.id).commit(update=True))
    return partial(
        add_members, convo_id=talk.id, who=Asking(phone.did, phone.device_id), dids=[], bundle=made, key=None
    )


def test_each_round_has_one_winner_and_losers_that_know_what_it_did() -> None:
    """In lockstep: every loser is refused once a round, and is in the next epoch by its refusal alone."""
    talk = a_gathering(DEVICES)
    waiting = list(talk.phones)
    while waiting:
        results = at_once([offering(talk, phone) for phone in waiting])
        assert failures(results) == ["EpochMismatch"] * (len(waiting) - 1)
        for phone, result in zip(list(waiting), results, strict=True):
            group = phone.group(talk.id)
            if isinstance(result, EpochMismatch):
                group.discard()
                told = result.body()
                assert (len(told["missedCommits"]), told["yours"]) == (1, False)
                catch_up(talk, group, Asking(phone.did), told)
            else:
                group.confirm()
                waiting.remove(phone)
            assert group.epoch == talk.convo.epoch
        for phone in talk.phones:
            if phone not in waiting:
                everybody_catches_up(talk, phone)
    require_all_in(talk)


def test_who_sleeps_through_the_storm_is_told_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "MISSED_COMMITS_MAX", 2)
    talk = a_gathering(DEVICES)
    *others, sleeper = talk.phones
    late = offering(talk, sleeper)
    assert failures(at_once([partial(commit_until_in, talk, phone) for phone in others])) == []
    with pytest.raises(EpochMismatch) as refused:
        late()
    told = refused.value.body()
    assert (len(told["missedCommits"]), told["cursor"], told["currentEpoch"]) == (2, "3", DEVICES)
    sleeper.group(talk.id).discard()
    catch_up(talk, sleeper.group(talk.id), Asking(sleeper.did), told)
    assert commit_until_in(talk, sleeper) == 1
    require_all_in(talk)
