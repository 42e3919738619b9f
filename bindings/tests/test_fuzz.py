"""A few thousand mutations of every entry point; ``fuzz/mutations.py`` does it for longer."""

import os

import pytest
from mutations import World, codes

INPUTS = int(os.environ.get("OPENMLS_FUZZ_INPUTS", "1500"))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_the_delivery_half_refuses_everything_by_name(world: World) -> None:
    targets = world.delivery_targets()
    seen, failures = codes(world, targets, INPUTS * len(targets), seed=7)
    assert [(name, message) for name, message, _ in failures] == []
    assert {sum(counted.values()) for counted in seen.values()} == {INPUTS}


def test_the_client_half_never_panics(world: World) -> None:
    targets = world.client_targets()
    _, failures = codes(world, targets, INPUTS * len(targets) // 10, seed=7)
    assert [message for _, message, _ in failures if message.startswith("internal.panic")] == []
