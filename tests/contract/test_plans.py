"""However large the tables, what is done often looks up what it needs and reads no table whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection, transaction
from django.test import override_settings

from catbird_mls.asgi import LOG
from conversations.services import retention
from delivery import nudges
from delivery.desk import Question, look_at
from delivery.selectors import Reader
from delivery.services import nudge_device
from delivery.tasks import sweep
from tests.conftest import Answer, Wire
from tests.contract import large
from tests.contract.plans import EXPLAINED, as_superuser, recorded
from tests.devices import ALICE, BOB, CAROL, MALLORY, SUITE, Phone
from tests.front_way import FrontWay
from tests.situations import Talk, a_convo, a_device, packages_of
from tests.wiring import b64, package_item, registration, wire_bytes

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Scene:
    """Alice's phone and laptop and Bob's phone, in a service with many others."""

    wire: Wire
    talk: Talk

    def call(self, method: str, *, by: str = ALICE, **fields: object) -> Answer:
        answer = self.wire.call(method, by=by, **fields)
        assert answer.status == 200, (method, answer.body)
        return answer

    def call_in(self, method: str, *, by: str = ALICE, **fields: object) -> Answer:
        return self.call(method, by=by, convoId=self.talk.id, **fields)


def sending(scene: Scene) -> None:
    for device in ({}, {"deviceId": scene.talk.founder.device_id}):
        ciphertext = wire_bytes(b"x")
        scene.call_in("sendMessage", msgId=uuid4().hex, epoch=1, paddedSize=512, ciphertext=ciphertext, **device)


def reading(scene: Scene) -> None:
    bob = scene.talk.phones[-1].device_id
    scene.call_in("getMessages", by=BOB, sinceSeq=3)
    scene.call_in("getMessages", by=BOB, deviceId=bob)
    scene.call_in("getCommits", by=BOB, fromEpoch=0)
    scene.call_in("getEpoch", by=BOB)
    page = scene.call("getConvos", by=BOB, limit=1)
    scene.call("getConvos", by=BOB, limit=1, cursor=page.body.get("cursor", "2000-01-01T00:00:00+00:00::x"))
    scene.call("getExpectedConversations", by=BOB, deviceId=bob)


def streaming(scene: Scene) -> None:
    phone = scene.talk.phones[-1]
    one, everything = Reader(BOB, phone.device_id, scene.talk.id), Reader(BOB)
    look_at(LOG, [Question(one, {scene.talk.id: 2}), Question(everything, {})])
    LOG.open_hints([scene.talk.id])
    LOG.kept([(scene.talk.id, 1), (scene.talk.id, 2)])
    LOG.seqs_before([scene.talk.id], transaction=10**12)


def carrying(scene: Scene) -> None:
    sending(scene)
    sweep()
    bob = scene.talk.phones[-1].device_id
    scene.call_in("updateCursor", by=BOB, deviceId=bob, cursor="2")
    scene.call_in("updateRead", by=BOB)


def pushing(scene: Scene) -> None:
    nudge_device(did=ALICE, device_id=scene.talk.founder.device_id)
    nudge_device(did=ALICE, device_id="")
    claimed = nudges.claim_nudges(100)
    assert claimed
    nudges.newest_waiting(claimed)
    nudges.tokens_of(claimed)
    nudges.settle_told(claimed[0], told_at=None)
    nudges.note_contact(did=ALICE, device_id=None)


def keeping_packages(scene: Scene) -> None:
    phone = Phone(MALLORY)
    scene.call("registerDevice", by=MALLORY, **registration(phone, packages=2))
    scene.call("publishKeyPackages", by=MALLORY, keyPackages=[package_item(one) for one in phone.packages(2)])
    scene.call("getKeyPackages", by=ALICE, dids=[MALLORY, BOB], cipherSuite=SUITE)
    scene.call("getKeyPackageStats", by=MALLORY)
    scene.call("getKeyPackageStatus", by=MALLORY)
    scene.call("getKeyPackageHistory", by=MALLORY)
    scene.call("listDevices", by=MALLORY)
    scene.call("getOptInStatus", by=ALICE, dids=[MALLORY])


def letting_in(scene: Scene) -> None:
    carol, founder = Phone(CAROL), scene.talk.founder
    a_device(carol)
    group = founder.group(scene.talk.id)
    made = group.commit(add=packages_of(carol))
    given = {"commit": b64(made.commit), "groupInfo": b64(made.group_info), "welcomeMessage": b64(made.welcome or b"")}
    scene.call_in("addMembers", didList=[CAROL], idempotencyKey=uuid4().hex, **given)
    group.confirm()
    scene.call_in("getWelcome", by=CAROL)
    scene.call_in("confirmWelcome", by=CAROL, success=True)
    scene.call_in("getGroupInfo", by=CAROL)
    scene.call("getPendingDeviceAdditions", by=CAROL)


def coming_and_going(scene: Scene) -> None:
    scene.call_in("readdition", by=BOB)
    scene.call_in("leaveConvo", by=BOB)


def minding(scene: Scene) -> None:
    """What beat has done every few seconds or minutes."""
    retention.drop_old_entries()
    for name in sorted({one["task"] for one in settings.CELERY_BEAT_SCHEDULE.values()} - WHOLE_ON_PURPOSE):
        current_app.tasks[name].apply(throw=True)


# They count everything for the charts of staff, or look for what is months old; pushing is looked at by itself.
WHOLE_ON_PURPOSE = {
    "conversations.tasks.expire_requests",
    "conversations.tasks.purge",
    "delivery.tasks.measure",
    "delivery.tasks.purge",
    "delivery.tasks.push",
    "journal.tasks.purge",
    "keypackages.tasks.measure",
    "keypackages.tasks.purge",
}
DOINGS = (
    sending,
    reading,
    streaming,
    carrying,
    pushing,
    keeping_packages,
    letting_in,
    coming_and_going,
    minding,
)


@pytest.fixture
def explained() -> Iterator[None]:
    """Large tables, and a connection that tells how it goes through them."""
    current_app.loader.import_default_modules()
    with override_settings(PUSH_PLATFORMS=["ios"], CATBIRD_LOW_KEY_PACKAGES=1):
        with as_superuser():
            large.fill()
            with connection.cursor() as cursor:
                cursor.execute(EXPLAINED)
        yield
    # Nobody else is to have this session.
    connection.close()
    connection.close_pool()


@pytest.fixture
def front(explained: None) -> Iterator[Wire]:
    way = FrontWay()
    yield Wire(way)
    way.close()


def read_whole(doing: Callable[[Scene], None], scene: Scene) -> dict[str, set[str]]:
    """Statements that read a large table whole, and which."""
    with recorded() as statements:
        doing(scene)
    assert statements, "nothing is told of what it does"
    found = {one.text: one.read_whole(large.TABLES) for one in statements}
    return {text: tables for text, tables in found.items() if tables}


def test_what_is_done_often_reads_no_table_whole(front: Wire) -> None:
    cast = [Phone(ALICE), Phone(ALICE, "laptop"), Phone(BOB)]
    for phone in cast:
        a_device(phone, packages=40)
    for doing in DOINGS:
        assert read_whole(doing, Scene(front, a_convo(*cast))) == {}, doing.__name__
    scene = Scene(Wire(), a_convo(*cast))
    assert [read_whole(doing, scene) for doing in (sending, reading)] == [{}, {}]
    with connection.cursor() as cursor:
        # As the plans are that are kept.
        cursor.execute("SET plan_cache_mode = force_generic_plan")
    assert read_whole(sending, scene) == {}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP INDEX mailbox_of_an_account")
        (tables,) = read_whole(streaming, scene).values()
        assert tables == {"delivery_mailbox"}, "that an index is missing is not noticed"
        transaction.set_rollback(True)
