"""What many devices do when all want the same: try, learn from the refusal, and try again."""

import base64
from collections.abc import Mapping
from typing import Any

from openmls.client import Group

from conversations.errors import EpochMismatch
from conversations.pages import commit_page, commits_asked
from conversations.selectors import Asking
from conversations.services import add_members, process_external_commit, read_group_info
from tests.devices import ALICE, Phone
from tests.situations import Talk, a_convo, bundle_of

# Many times what anybody needs: that a device learns nothing is to be named, not waited for.
TRIES_MAX = 1000


def a_gathering(size: int) -> Talk:
    """A convo of that many accounts with a device each, all at one epoch."""
    return a_convo(Phone(ALICE), *(Phone(f"did:plc:friend{number}") for number in range(size - 1)))


def losing_state(talk: Talk, *phones: Phone) -> None:
    """These devices have their keys and nothing else."""
    for phone in phones:
        phone.client.forget_group(bytes.fromhex(talk.id))
        talk.phones.remove(phone)


def commit_until_in(talk: Talk, phone: Phone) -> int:
    """The device renews its keys; when it is overtaken it goes on from the refusal alone. The tries it took."""
    group, who = phone.group(talk.id), Asking(phone.did, phone.device_id)
    for tries in range(1, TRIES_MAX):
        made = bundle_of(group.commit(update=True))
        try:
            add_members(convo_id=talk.id, who=who, dids=[], bundle=made, key=None)
        except EpochMismatch as refusal:
            group.discard()
            catch_up(talk, group, who, refusal.body())
        else:
            group.confirm()
            return tries
    raise AssertionError(f"{phone.did} is never let in")


def catch_up(talk: Talk, group: Group, who: Asking, told: Mapping[str, Any]) -> None:
    """What the refusal tells, and the pages after it where it was cut."""
    for entry in told["missedCommits"]:
        group.process(base64.b64decode(entry["commitData"]["$bytes"]))
    cursor = told.get("cursor")
    while cursor is not None:
        commits, cursor = commit_page(
            commits_asked(convo_id=talk.id, who=who, from_epoch=0, to_epoch=None, cursor=cursor)
        )
        for commit in commits:
            group.process(bytes(commit.body))
    for proposal in told["pendingProposals"]:
        group.process(base64.b64decode(proposal["$bytes"]))


def come_back_until_in(talk: Talk, phone: Phone) -> int:
    """The device commits itself in; when it is overtaken it begins again from the door. The tries it took."""
    who = Asking(phone.did, phone.device_id)
    for tries in range(1, TRIES_MAX):
        door = read_group_info(convo_id=talk.id, who=who)
        _, made = phone.client.join_external(door.group_info, door.ratchet_tree)
        try:
            process_external_commit(convo_id=talk.id, who=who, bundle=bundle_of(made), key=None)
        except EpochMismatch:
            continue
        return tries
    raise AssertionError(f"{phone.did} is never let in")


def everybody_catches_up(talk: Talk, *phones: Phone) -> set[bytes]:
    """All take the commits they have not seen; what they have in common then."""
    for phone in phones:
        group = phone.group(talk.id)
        commits, _ = commit_page(
            commits_asked(
                convo_id=talk.id, who=Asking(phone.did), from_epoch=group.epoch + 1, to_epoch=None, cursor=None
            )
        )
        for commit in commits:
            group.process(bytes(commit.body))
    return {phone.group(talk.id).epoch_authenticator() for phone in phones}
