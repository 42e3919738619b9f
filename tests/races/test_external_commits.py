"""Many devices that come back by themselves at once; in one convo it takes the convo's lock."""

from functools import partial

import pytest
from django.conf import LazySettings

from conversations.models import Member, Message
from conversations.selectors import Asking
from conversations.services import process_external_commit, read_group_info
from tests.devices import ALICE, Phone
from tests.races.storms import a_gathering, come_back_until_in, everybody_catches_up, losing_state
from tests.races.threads import at_once, failures, succeeded
from tests.situations import a_convo, bundle_of, stored

pytestmark = pytest.mark.django_db(transaction=True)

CONVOS = 25
DEVICES = 20


def test_every_convo_lets_its_own_device_in() -> None:
    alice, works, talks = Phone(ALICE), [], []
    for number in range(CONVOS):
        phone = Phone(f"did:plc:friend{number}")
        talk = a_convo(alice, phone)
        losing_state(talk, phone)
        door = read_group_info(convo_id=talk.id, who=Asking(phone.did))
        made = bundle_of(phone.client.join_external(door.group_info, door.ratchet_tree)[1])
        works.append(partial(process_external_commit, convo_id=talk.id, who=Asking(phone.did), bundle=made, key=None))
        talks.append((talk, phone))
    results = at_once(works)
    assert failures(results) == []
    assert [answer["epoch"] for answer in succeeded(results)] == [2] * CONVOS
    for talk, phone in talks:
        assert len(everybody_catches_up(talk, alice, phone)) == 1


def test_one_convo_lets_all_its_devices_in(settings: LazySettings) -> None:
    """Each time one wins; the others look at the door again."""
    settings.RATE_LIMIT_EXTERNAL_COMMIT = DEVICES
    talk = a_gathering(DEVICES + 1)
    phones = talk.phones[1:]
    losing_state(talk, *phones)
    results = at_once([partial(come_back_until_in, talk, phone) for phone in phones])
    assert failures(results) == []
    assert max(succeeded(results)) <= DEVICES, "a device lost to nobody"
    assert talk.convo.epoch == 1 + DEVICES
    commits = Message.objects.filter(convo_id=talk.id, kind="commit").order_by("seq")
    assert list(commits.values_list("epoch", flat=True)) == list(range(1, DEVICES + 2))
    rows = Member.objects.filter(convo_id=talk.id, left_at__isnull=True)
    assert set(rows.values_list("leaf_index", flat=True)) == {leaf.leaf_index for leaf in stored(talk).members()}
    assert rows.count() == DEVICES + 1
    assert len(everybody_catches_up(talk, talk.founder, *phones)) == 1
