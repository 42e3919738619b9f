"""What earlier versions stored is rebuilt byte for byte, and the next commit leads to where it led then."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from openmls.delivery import Policy, PublicGroup

from conversations.framing import StoredGroup
from tests.vectors.make import PATIENT, effect

HERE = Path(__file__).parent
VECTORS = sorted(HERE.glob("*/*.json"))
BYTES_MAX = 300_000


def read(path: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(path.read_text())
    return vector


def group_of(kept: dict[str, Any]) -> StoredGroup:
    return StoredGroup(
        ratchet_tree=base64.b64decode(kept["ratchet_tree"]),
        group_context=base64.b64decode(kept["group_context"]),
        confirmation_tag=base64.b64decode(kept["confirmation_tag"]),
        proposals=tuple(base64.b64decode(proposal) for proposal in kept.get("proposals", [])),
    )


def without_proposals(kept: StoredGroup) -> StoredGroup:
    return StoredGroup(kept.ratchet_tree, kept.group_context, kept.confirmation_tag)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_was_stored_is_the_group_it_was(path: Path) -> None:
    vector = read(path)
    for kept in (group_of(vector["before"]), group_of(vector["after"])):
        group = kept.rebuild()
        assert StoredGroup.of(group) == without_proposals(kept)
        assert group.ciphersuite == vector["ciphersuite"]
        assert len(group.pending_proposals) == len(kept.proposals)
        PublicGroup.rebuild(
            ratchet_tree=kept.ratchet_tree,
            group_context=kept.group_context,
            confirmation_tag=kept.confirmation_tag,
            verify=True,
        )


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_next_commit_leads_where_it_led(path: Path) -> None:
    vector = read(path)
    info, after = (
        group_of(vector["before"])
        .rebuild()
        .process_commit(
            base64.b64decode(vector["commit"]),
            group_info=base64.b64decode(vector["group_info"]),
            welcomes=[base64.b64decode(welcome) for welcome in vector["welcomes"]],
            limits=PATIENT,
            policy=Policy(require_group_info=True),
        )
    )
    assert effect(info) == vector["effect"]
    assert StoredGroup.of(after) == group_of(vector["after"])
    assert after == group_of(vector["after"]).rebuild()


def test_the_corpus_covers_what_groups_can_be() -> None:
    vectors = [read(path) for path in VECTORS]
    assert {vector["ciphersuite"] for vector in vectors} == {1, 2, 3}
    assert {vector["effect"]["kind"] for vector in vectors} == {"member", "external_join", "external_resync"}
    assert {by for vector in vectors for _, by in vector["effect"]["removed"]} == {
        "member",
        "self",
        "external",
        "resync",
    }
    assert any(vector["effect"]["added"] and vector["welcomes"] for vector in vectors)
    assert sum(path.stat().st_size for path in VECTORS) < BYTES_MAX
