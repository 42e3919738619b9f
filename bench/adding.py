"""Commits over the wire: verified, with packages that are spent and Welcomes that wait, and from outside."""

from uuid import uuid4

from bench.asking import call
from bench.comparing import measured, speeds
from bench.ledger import require_sound
from bench.load import Plan, Request, load
from bench.rows import Figure, row
from bench.stack import Stack, stack
from conversations.models import Convo
from conversations.selectors import Asking
from conversations.services import read_group_info
from keypackages.models import Welcome
from keypackages.services import register_device
from tests.devices import Phone
from tests.races.storms import losing_state
from tests.situations import Talk, a_convo
from tests.wiring import b64

CONVOS, ADDS, CALLERS = 96, 20, 16
# So many of each convo's go before, so that connections are open, and modules and plans at hand.
EARLY = 4
NEWCOMERS, PACKAGES = 48, 40
# From one convo to the next so far along in the newcomers, so that callers seldom add the same account at once.
STRIDE = 7
ADDS_A_SECOND = 250.0
RETURNS, RETURN_P99_MS = 100, 500.0
# All is prepared, and each caller goes through its part once, however long that takes.
AS_LONG_AS_IT_TAKES = 600.0


def newcomers() -> list[tuple[str, list[bytes]]]:
    """Accounts, and the published packages of their one device each."""
    found = []
    for number in range(NEWCOMERS):
        phone = Phone(f"did:plc:newcomer{number}")
        items = phone.items(PACKAGES)
        register_device(
            did=phone.did, name="phone", device_uuid=phone.uuid, signature_key=phone.signature_key, key_packages=items
        )
        found.append((phone.did, [bytes(item["key_package"]) for item in items]))  # type: ignore[call-overload]
    return found


def script(talk: Talk, guests: list[tuple[str, list[bytes]]]) -> list[Request]:
    """Commits that each let one more account in, made in advance by the founder, to be told in this order."""
    founder, requests = talk.founder, []
    for did, packages in guests:
        made = founder.group(talk.id).commit(add=[packages.pop()])
        founder.group(talk.id).confirm()
        bundle = {
            "commit": b64(made.commit),
            "groupInfo": b64(made.group_info),
            "welcomeMessage": b64(made.welcome or b""),
        }
        requests.append(call("addMembers", founder.did, convoId=talk.id, didList=[did], **bundle))
    return requests


def at_one_go(running: Stack, scripts: list[list[Request]]) -> Plan:
    """Each caller has convos of its own, and takes one request of each in turn."""
    parts = [[one for step in zip(*scripts[n::CALLERS], strict=True) for one in step] for n in range(CALLERS)]
    return Plan(running.port, parts, AS_LONG_AS_IT_TAKES, warm_seconds=0.0, once=True)


@row("add-members")
def add_members() -> list[Figure]:
    """addMembers by 16 callers: 16 verified commits, each with a Welcome, into each of 96 convos"""
    guests = newcomers()
    talks = [a_convo(Phone(f"did:plc:host{number}")) for number in range(CONVOS)]
    scripts = []
    for number, talk in enumerate(talks):
        chosen = [guests[(number * STRIDE + place) % NEWCOMERS] for place in range(ADDS)]
        scripts.append(script(talk, chosen))
    with stack() as running:
        load(at_one_go(running, [script[:EARLY] for script in scripts]))
        outcome, cost = measured(running, at_one_go(running, [script[EARLY:] for script in scripts]))
        require_sound(running.data, [talk.id for talk in talks], entries=CONVOS * ADDS)
    ids = [talk.id for talk in talks]
    assert set(Convo.objects.filter(pk__in=ids).values_list("epoch", flat=True)) == {ADDS}
    assert Welcome.objects.filter(convo_id__in=ids).count() == CONVOS * ADDS
    return [
        *speeds(outcome, least=ADDS_A_SECOND),
        Figure("database commits a call", cost.commits / outcome.answered, ""),
        Figure("write-ahead log a call", cost.wal_bytes / outcome.answered, "bytes"),
        *cost.figures(outcome),
    ]


def returning(host: Phone) -> tuple[Talk, Request]:
    """A device that has lost its state, and the commit by which it comes back into its convo."""
    phone = Phone(f"did:plc:{uuid4().hex[:24]}")
    talk = a_convo(host, phone)
    losing_state(talk, phone)
    door = read_group_info(convo_id=talk.id, who=Asking(phone.did, phone.device_id))
    _, made = phone.client.join_external(door.group_info, door.ratchet_tree)
    commit, info = b64(made.commit), b64(made.group_info)
    return talk, call("processExternalCommit", phone.did, convoId=talk.id, externalCommit=commit, groupInfo=info)


@row("external-100-convos")
def external_100_convos() -> list[Figure]:
    """100 devices come back at once, each by a connection of its own into its own convo"""
    host = Phone(f"did:plc:{uuid4().hex[:24]}")
    early, crowd = ([returning(host) for _ in range(RETURNS)] for _ in range(2))
    with stack() as running:
        # Whoever came before has had connections opened and modules loaded.
        load(Plan(running.port, [[request] for _, request in early], AS_LONG_AS_IT_TAKES, warm_seconds=0.0, once=True))
        plan = Plan(running.port, [[request] for _, request in crowd], AS_LONG_AS_IT_TAKES, warm_seconds=0.0, once=True)
        outcome, cost = measured(running, plan)
        ids = [talk.id for talk, _ in crowd]
        require_sound(running.data, ids, entries=2 * RETURNS)
    assert set(Convo.objects.filter(pk__in=ids).values_list("epoch", flat=True)) == {2}
    return [
        Figure("succeeded", outcome.answered, "", at_least=RETURNS),
        *speeds(outcome, p99_at_most=RETURN_P99_MS),
        *cost.figures(outcome),
    ]
