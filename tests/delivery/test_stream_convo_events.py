"""blue.catbird.mls.streamConvoEvents"""

import re
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from catbird_mls.xrpc import lexicon
from conversations.models import Message
from conversations.services import register_device
from conversations.services.mending import ask_for_readding, notice_low_stock
from keypackages.services import StuckWelcome, publish_key_packages
from tests.delivery.streaming import SSE as NSID
from tests.delivery.streaming import Refused, headers, named, send, seqs
from tests.delivery.streaming import open_sse as stream
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.live import Web, web
from tests.situations import a_convo, bring_in, remove

pytestmark = [pytest.mark.django_db(transaction=True)]


def test_the_past_is_replayed_and_then_followed_live(any_server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk, "before")
    with stream(any_server, by=BOB, convoId=talk.id, cursor="0") as found:
        assert seqs(found, 1) == [2]
        send(talk, "live one")
        assert seqs(found, 1) == [3]
        send(talk, "live two")
        send(talk, "live three")
        assert seqs(found, 2) == [4, 5]


def test_without_a_cursor_only_what_is_new_comes(server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk, "before")
    with stream(server, by=BOB, convoId=talk.id) as found:
        assert next(found) is None
        send(talk, "after")
        assert seqs(found, 1) == [3]


@pytest.mark.parametrize("by_header", [True, False])
def test_a_cursor_is_the_place_after_which_to_go_on(server: Web, by_header: bool) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for number in range(5):
        send(talk, f"m{number}")
    place: dict[str, Any] = {"last_event_id": "4"} if by_header else {"cursor": "4"}
    with stream(server, by=BOB, convoId=talk.id, **place) as found:
        assert seqs(found, 2) == [5, 6]


def test_all_convos_of_an_account_come_on_one_stream_and_its_cursor_skips_nothing(server: Web) -> None:
    bob = Phone(BOB)
    talks = [a_convo(Phone(ALICE), bob) for _ in range(2)]
    for number in range(3):
        for talk in talks:
            send(talk, f"m{number}")
    with stream(server, by=BOB, cursor="0") as found:
        first = list(islice((one for one in found if one), 6))
    per_convo = {
        talk.id: [one["message"]["seq"] for one in first if one["message"]["convoId"] == talk.id] for talk in talks
    }
    assert set(map(tuple, per_convo.values())) == {(2, 3, 4)}
    send(talks[1], "later")
    with stream(server, by=BOB, cursor=first[-1]["cursor"]) as found:
        # What other transactions were running beside may come once more.
        assert next(one for one in found if one and one["message"]["seq"] == 5)["message"]["convoId"] == talks[1].id


def test_a_stream_over_everything_follows_a_convo_that_opens_meanwhile(server: Web) -> None:
    alice, bob = Phone(ALICE), Phone(BOB)
    a_convo(alice, bob)
    with stream(server, by=BOB) as found:
        assert next(found) is None
        talk = a_convo(alice, bob)
        send(talk, "one")
        assert next(one for one in found if one)["message"]["seq"] == 2
        send(talk, "two")
        assert next(one for one in found if one)["message"]["seq"] == 3


def test_who_is_removed_hears_of_it_and_then_the_stream_ends(server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))
    with stream(server, by=BOB, convoId=talk.id) as found:
        assert next(found) is None
        remove(talk, talk.founder, BOB)
        send(talk, "behind your back")
        assert [one["message"]["seq"] for one in found if one and one["type"] == "messageEvent"] == [2]


def test_a_member_hears_nothing_from_before_its_time(server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    send(talk, "before")
    bring_in(talk, talk.founder, Phone(CAROL))
    send(talk, "after")
    with stream(server, by=CAROL, convoId=talk.id, cursor="0") as found:
        assert seqs(found, 1) == [4]


def test_a_lost_bell_is_made_good_by_looking_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    counting = web(CATBIRD_METRICS_DIR=str(tmp_path), CATBIRD_STREAM_LOOK_SECONDS="2")
    with counting as alone, stream(alone, by=BOB, convoId=talk.id) as found:
        assert next(found) is None
        send(talk, "heard")
        assert seqs(found, 1) == [2]
        monkeypatch.setattr("delivery.hub.ring", lambda convo_id, seq: None)
        # On a busy machine a bell of before may come late enough to be taken for that of the next entry.
        for number in range(3, 13):
            send(talk, f"unheard {number}")
            assert seqs(found, 1) == [number]
            counted = httpx.get(f"{alone.url}/metrics", timeout=30).text
            if re.search(r'catbird_bell_losses_repaired_total{bus="up"} [1-9]', counted):
                break
        else:
            raise AssertionError("no loss was counted")
    assert f'catbird_stream_events_total{{kind="messageEvent"}} {number - 1}.0' in counted
    assert 'catbird_stream_connections{kind="sse"} 1.0' in counted


def test_a_cursor_from_before_what_is_kept_is_told_before_the_stream_begins(server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    for number in range(5):
        send(talk, f"m{number}")
    Message.objects.filter(convo_id=talk.id, seq__lt=5).delete()
    assert outdated(server, convoId=talk.id, cursor="2") == (410, "OutdatedCursor")
    for cursor, rest in (("4", [5, 6]), ("5", [6]), ("0", [5, 6])):
        with stream(server, by=BOB, convoId=talk.id, cursor=cursor) as found:
            assert seqs(found, len(rest)) == rest


def test_over_all_convos_a_hole_behind_the_cursor_is_told_too(server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    with stream(server, by=BOB) as found:
        send(talk, "one")
        cursor = named(found, "messageEvent")["cursor"]
    for number in range(3):
        send(talk, f"m{number}")
    with stream(server, by=BOB, cursor=cursor) as found:
        # While others write, entries may come again before it.
        while seqs(found, 1) != [5]:
            pass
    Message.objects.filter(convo_id=talk.id, seq__lt=5).delete()
    assert outdated(server, cursor=cursor) == (410, "OutdatedCursor")


def outdated(server: Web, **params: str) -> tuple[int, str]:
    with pytest.raises(Refused) as refused, stream(server, by=BOB, **params):
        pass
    return refused.value.how, refused.value.name


@pytest.mark.parametrize(
    ("by", "changes", "refusal"),
    [
        (MALLORY, {}, (403, "NotMember")),
        (BOB, {"convoId": "nowhere"}, (403, "NotMember")),
        (BOB, {"deviceId": "unknown"}, (403, "NotMember")),
        (BOB, {"cursor": "99"}, (400, "FutureCursor")),
        (BOB, {"cursor": "nonsense"}, (400, "InvalidCursor")),
        (None, {}, (401, "AuthenticationRequired")),
    ],
)
def test_refusals(server: Web, by: str | None, changes: dict[str, str], refusal: tuple[int, str]) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    response = httpx.get(
        f"{server.url}/xrpc/{NSID}", params={"convoId": talk.id} | changes, headers=headers(by) if by else {}
    )
    assert (response.status_code, response.json()["error"]) == refusal
    assert response.json()["error"] in lexicon.error_names(NSID) | {"AuthenticationRequired"}


def test_it_is_called_with_get(server: Web) -> None:
    response = httpx.post(f"{server.url}/xrpc/{NSID}", headers=headers(BOB))
    assert (response.status_code, response.json()["error"]) == (400, "InvalidRequest")


def test_a_new_device_is_announced_to_the_others_and_again_to_who_connects(server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))
    laptop = Phone(BOB, "laptop")
    with stream(server, by=ALICE, convoId=talk.id) as early:
        assert next(early) is None
        register_device(
            did=BOB,
            name="laptop",
            device_uuid=laptop.uuid,
            signature_key=laptop.signature_key,
            key_packages=laptop.items(1),
        )
        told = named(early, "newDeviceEvent")
    assert (told["convoId"], told["userDid"], told["deviceName"]) == (talk.id, BOB, "laptop")
    with stream(server, by=CAROL, convoId=talk.id) as late:
        assert named(late, "newDeviceEvent")["pendingAdditionId"] == told["pendingAdditionId"]


def test_a_device_that_runs_out_is_told_and_no_other(server: Web) -> None:
    phone, laptop = Phone(ALICE), Phone(ALICE, "laptop")
    talk = a_convo(phone, laptop)
    register_many(laptop)
    with (
        stream(server, by=ALICE, deviceId=phone.device_id) as found,
        stream(server, by=ALICE, deviceId=laptop.device_id) as other,
    ):
        assert (next(found), next(other)) == (None, None)
        assert notice_low_stock() == 1
        assert named(found, "infoEvent")["info"] == "LowKeyPackages"
        send(talk, "next")
        assert next(event for event in other if event)["type"] == "messageEvent"


def register_many(phone: Phone) -> None:
    publish_key_packages(did=phone.did, items=phone.items(20))


def test_a_request_for_readding_is_told_to_the_others(server: Web) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB))
    bob = talk.phones[1]
    with stream(server, by=ALICE, convoId=talk.id) as found:
        assert next(found) is None
        ask_for_readding([StuckWelcome(0, talk.id, BOB, bob.device_id)])
        assert named(found, "readditionRequestedEvent")["userDid"] == BOB
