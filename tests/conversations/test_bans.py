"""Accounts that are kept out: removeMember with a ban, and what staff do."""

import pytest
from django.test import Client

from conversations.models import Ban, Member, Proposal
from conversations.services.banning import ban_account, lift_ban
from tests.conftest import Wire, leaves_no_trace
from tests.devices import ALICE, BOB, CAROL, Phone
from tests.situations import Talk, a_convo, a_device, add_unjoined, packages_of, remove
from tests.staff.conftest import staff, viewer
from tests.wiring import b64

__all__ = ["staff", "viewer"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL), served=True)


def test_an_admin_removes_and_bans_in_one(wire: Wire, talk: Talk) -> None:
    given = {"convoId": talk.id, "targetDid": BOB, "idempotencyKey": "k1", "reason": "spam", "ban": True}
    assert wire.call("removeMember", by=CAROL, **given).refusal == (403, "NotAdmin")
    assert not Ban.objects.exists()
    first = wire.call("removeMember", by=ALICE, **given)
    assert wire.call("removeMember", by=ALICE, **given).body == first.body
    ban = Ban.objects.get()
    assert (ban.did, ban.banned_by, ban.reason) == (BOB, ALICE, "spam")


def test_nobody_lets_a_banned_account_in(wire: Wire, talk: Talk) -> None:
    remove(talk, talk.founder, BOB)
    ban_account(convo_id=talk.id, did=BOB, by="staff")
    bob = Phone(BOB, "another")
    a_device(bob)
    made = talk.founder.group(talk.id).commit(add=packages_of(bob))
    given = {"convoId": talk.id, "didList": [BOB], "commit": b64(made.commit), "groupInfo": b64(made.group_info)}
    with leaves_no_trace():
        answer = wire.call("addMembers", by=ALICE, **given, welcomeMessage=b64(made.welcome or b""))
    assert answer.refusal == (400, "InvalidCommit")
    assert answer["message"] == f"commit.adds_banned: {BOB} is banned from this conversation."


def test_a_banned_account_does_not_come_back_even_if_it_had_left(wire: Wire, talk: Talk) -> None:
    wire.call("leaveConvo", by=BOB, convoId=talk.id)
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id).status == 200
    ban_account(convo_id=talk.id, did=BOB, by="staff")
    ban_account(convo_id=talk.id, did=BOB, by="staff")
    for method in ("getGroupInfo", "readdition"):
        assert wire.call(method, by=BOB, convoId=talk.id).refusal == (403, "Unauthorized")
    assert Ban.objects.count() == 1
    assert Proposal.objects.count() == 1


def test_once_lifted_members_may_add_the_account_again(wire: Wire, talk: Talk) -> None:
    remove(talk, talk.founder, BOB)
    ban_account(convo_id=talk.id, did=BOB, by="staff")
    assert lift_ban(convo_id=talk.id, did=BOB, by="staff")
    assert not lift_ban(convo_id=talk.id, did=BOB, by="staff")
    assert wire.call("getGroupInfo", by=BOB, convoId=talk.id).refusal == (403, "Unauthorized")
    add_unjoined(talk, talk.founder, Phone(BOB, "another"))
    assert Member.objects.filter(did=BOB, left_at__isnull=True).count() == 1


def test_a_ban_in_an_opaque_convo_ends_the_place(wire: Wire) -> None:
    talk = a_convo(Phone(ALICE), Phone(BOB), tracked=False)
    ban_account(convo_id=talk.id, did=BOB, by="staff")
    assert wire.call("getEpoch", by=BOB, convoId=talk.id).refusal == (403, "NotMember")
    answer = wire.call("addMembers", by=ALICE, convoId=talk.id, didList=[BOB], commit=_opaque_commit(talk))
    assert answer.refusal == (400, "InvalidCommit")


def test_staff_ban_and_lift_and_it_is_noted(staff: Client, viewer: Client, talk: Talk) -> None:
    row = Member.objects.get(did=BOB)
    press = {"action": "ban", "_selected_action": [row.pk], "index": 0}
    viewer.post("/admin/conversations/member/", press)
    assert not Ban.objects.exists()
    staff.post("/admin/conversations/member/", press)
    ban = Ban.objects.get()
    assert (ban.did, ban.banned_by) == (BOB, "staff staff")
    row.refresh_from_db()
    assert (row.left_how, row.left_at) == ("removed", None)
    lift = {"action": "lift", "_selected_action": [ban.pk], "index": 0}
    viewer.post("/admin/conversations/ban/", lift)
    ban.refresh_from_db()
    assert ban.lifted_at is None
    staff.post("/admin/conversations/ban/", lift)
    ban.refresh_from_db()
    assert ban.lifted_by == "staff staff"


def _opaque_commit(talk: Talk) -> str:
    return b64(talk.founder.group(talk.id).commit(update=True).commit)
