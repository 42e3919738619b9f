"""addMembers over the wire: commits that are verified, packages that are spent, Welcomes that wait."""

from bench.asking import call
from bench.comparing import measured, speeds
from bench.ledger import require_sound
from bench.load import Plan, Request
from bench.rows import Figure, row
from bench.stack import stack
from conversations.models import Convo
from keypackages.models import Welcome
from keypackages.services import register_device
from tests.devices import Phone
from tests.situations import Talk, a_convo
from tests.wiring import b64

CONVOS, ADDS, CALLERS = 96, 12, 16
NEWCOMERS, PACKAGES = 48, 24
# From one convo to the next so far along in the newcomers, so that callers seldom add the same account at once.
STRIDE = 7
ADDS_A_SECOND = 250.0
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


@row("add-members")
def add_members() -> list[Figure]:
    """addMembers by 16 callers: 12 verified commits, each with a Welcome, into each of 96 convos"""
    guests = newcomers()
    talks = [a_convo(Phone(f"did:plc:host{number}")) for number in range(CONVOS)]
    scripts = []
    for number, talk in enumerate(talks):
        chosen = [guests[(number * STRIDE + place) % NEWCOMERS] for place in range(ADDS)]
        scripts.append(script(talk, chosen))
    # Each caller has convos of its own, and takes one commit of each in turn.
    parts = [[one for step in zip(*scripts[n::CALLERS], strict=True) for one in step] for n in range(CALLERS)]
    with stack() as running:
        plan = Plan(running.port, parts, AS_LONG_AS_IT_TAKES, warm_seconds=0.0, once=True)
        outcome, cost = measured(running, plan)
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
