"""What a commit, proposal, external commit, GroupInfo or Welcome may pretend: each is refused, without a trace."""

from collections.abc import Callable

import pytest

from tests.conftest import Wire, everything_written
from tests.conversations.forgeries.commits import COMMITS, RIGHTS
from tests.conversations.forgeries.entries import EXTERNAL
from tests.conversations.forgeries.group_infos import GROUP_INFOS, UPLOADS
from tests.conversations.forgeries.leaves import LEAVES
from tests.conversations.forgeries.packages import PACKAGES
from tests.conversations.forgeries.scene import DAVE, Scene, Sent
from tests.devices import ALICE, BOB, CAROL

pytestmark = pytest.mark.django_db

FORGERIES = {
    "commit": COMMITS,
    "commit that": RIGHTS,
    "package": PACKAGES,
    "GroupInfo": GROUP_INFOS,
    "leave": LEAVES,
    "external commit": EXTERNAL,
    "uploaded GroupInfo": UPLOADS,
}
ROWS = [(f"{kind} {name}", *row) for kind, rows in FORGERIES.items() for name, *row in rows]
# What an attempt may leave behind: that it was made.
AUDIT = ("conversations_rejoinattempt", "conversations_refusal")


def written() -> dict[str, str]:
    return {table: content for table, content in everything_written().items() if table not in AUDIT}


@pytest.mark.parametrize(("make", "refusal", "begins"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_forgeries(wire: Wire, make: Callable[[Scene], Sent], refusal: str, begins: str) -> None:
    sent = make(Scene())
    before = written()
    answer = wire.call(sent.method, by=sent.by, **sent.fields)
    status, name = answer.refusal
    assert (f"{status} {name}", answer.body["message"][: len(begins)]) == (refusal, begins), answer.body
    assert written() == before


HONEST: dict[str, Callable[[Scene], Sent]] = {
    "renewal": lambda s: s.commits(BOB, s.renewal(s.bob)),
    "addition": lambda s: s.commits(BOB, s.addition(s.dave), DAVE),
    "removal": lambda s: s.removes(ALICE, s.group(s.alice).commit(remove=[s.leaf(s.carol)]), CAROL),
    "removal of one's own device": lambda s: s.commits(BOB, s.group(s.bob).commit(remove=[s.leaf(s.laptop)])),
    "leave": lambda s: s.leaves(CAROL, s.group(s.carol).propose_self_remove()),
    "external commit": lambda s: s.enters(BOB, s.entry(s.tablet)),
    "uploaded GroupInfo": lambda s: s.uploads(BOB, s.group(s.bob).group_info()),
}


@pytest.mark.parametrize("make", HONEST.values(), ids=HONEST)
def test_what_the_forgeries_are_made_of_is_accepted(wire: Wire, make: Callable[[Scene], Sent]) -> None:
    sent = make(Scene())
    before = written()
    answer = wire.call(sent.method, by=sent.by, **sent.fields)
    assert answer.status == 200, answer.body
    assert written() != before
