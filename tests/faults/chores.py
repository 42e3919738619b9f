"""A service that no worker has looked after for long: every task of ours has something to do."""

from datetime import timedelta
from uuid import uuid4

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from catbird_mls.xrpc.errors import NotMember
from conversations.doors import want_group_info
from conversations.models import Answer, GroupState, Message, ReadditionRequest, RejoinAttempt
from conversations.selectors import Asking
from conversations.services import append_message
from conversations.services.asking import ask_for_readdition
from delivery.models import Mailbox, Nudge
from delivery.services import keep_push_token, nudge_device
from delivery.tasks import sweep
from journal.models import Refusal
from journal.services import note_refusal
from keypackages.models import DailyCount, Device, KeyPackage, Welcome, WelcomeBody
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, add_unjoined, remove, update

DORA, ERIN, FRANK = (f"did:plc:{name}" for name in ("dora", "erin", "frank"))
LONG = timedelta(days=200)


def neglected() -> str:
    """The convo in which entries wait to be carried, and into which nobody can come."""
    things_that_have_grown_old()
    welcomes_that_wait()
    welcomes_that_have_ended()
    devices_to_be_told()
    sweep()
    convo_id = entries_nobody_carried()
    entries_nobody_carried()
    Nudge.objects.filter(asked=False).delete()
    # Each that is told is a place to die at: two are enough.
    Device.objects.exclude(did__in=[ERIN, FRANK]).update(low_stock_noticed_at=Now())
    # Whatever is counted is counted on another day than what was counted before.
    DailyCount.objects.update(day=F("day") - LONG)
    return convo_id


def say(talk: Talk, words: int) -> None:
    for _ in range(words):
        append_message(
            convo_id=talk.id, who=Asking(talk.founder.did), msg_id=uuid4().hex, epoch=talk.convo.epoch, ciphertext=b"x"
        )


def entries_nobody_carried() -> str:
    bob = Phone(BOB)
    talk = a_convo(Phone(ALICE), bob)
    say(talk, 3)
    for phone in talk.phones:
        pushed_to(phone)
    ask_for_readdition(convo_id=talk.id, who=Asking(BOB, bob.device_id))
    ReadditionRequest.objects.update(requested_at=F("requested_at") - LONG)
    of_no_epoch = talk.founder.group(talk.id).commit(update=True).group_info
    GroupState.objects.filter(convo_id=talk.id).update(group_info=of_no_epoch, checked_at=None)
    return talk.id


def pushed_to(phone: Phone) -> None:
    keep_push_token(did=phone.did, device_id=phone.device_id, platform="ios", token=uuid4().hex)


def things_that_have_grown_old() -> None:
    """Two convos whose entries, answers, packages and Welcomes are old, and a member who is long out."""
    for _ in range(2):
        talk = a_convo(Phone(ALICE), Phone(BOB), Phone(CAROL))
        say(talk, 2)
        sweep()
        remove(talk, talk.founder, CAROL)
        Answer.objects.create(convo_id=talk.id, did=ALICE, nsid="x", key="k", digest=b"", answer={})
        RejoinAttempt.objects.create(way="x", convo_id=talk.id, did=CAROL, outcome="refused")
        note_refusal(NotMember(), nsid="x", thing="Welcome", body=b"x", did=MALLORY, convo_id=talk.id)
        Message.objects.filter(convo_id=talk.id).update(received_at=F("received_at") - LONG)
        WelcomeBody.objects.filter(convo_id=talk.id).update(created_at=F("created_at") - LONG)
    KeyPackage.objects.filter(did=CAROL, spent_at__isnull=False).update(expires_at=F("expires_at") - LONG)
    Mailbox.objects.filter(closed_at__isnull=False).update(closed_at=F("closed_at") - LONG)
    Answer.objects.update(created_at=F("created_at") - LONG)
    RejoinAttempt.objects.update(made_at=F("made_at") - LONG)
    Refusal.objects.update(made_at=F("made_at") - LONG)


def welcomes_that_wait() -> None:
    """Their convos have moved on, and ask for a GroupInfo."""
    for did in (ERIN, FRANK):
        talk, late = a_convo(Phone(DORA)), Phone(did)
        add_unjoined(talk, talk.founder, late)
        update(talk, talk.founder)
        pushed_to(late)
        want_group_info(talk.id, "lost")
    Welcome.objects.filter(did__in=[ERIN, FRANK]).update(created_at=F("created_at") - LONG)


def welcomes_that_have_ended() -> None:
    for _ in range(2):
        talk = a_convo(Phone(DORA))
        add_unjoined(talk, talk.founder, Phone(MALLORY))
    KeyPackage.objects.filter(did=MALLORY).update(expires_at=timezone.now() - timedelta(hours=1))


def devices_to_be_told() -> None:
    """Two accounts."""
    for did in (ALICE, DORA):
        phone = a_convo(Phone(did)).founder
        pushed_to(phone)
        nudge_device(did=did, device_id=phone.device_id)
