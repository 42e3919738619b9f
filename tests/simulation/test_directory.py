"""Any order of registering, deleting, syncing, purging, adding, fetching and confirming, against a small model.

The model knows one thing: for which devices a Welcome waits that they could use. Such a Welcome must be
handed out, with bytes the device can join with, whatever else happened in between; and no package may admit twice.
"""

import os
from dataclasses import dataclass, field

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from conversations.selectors import Asking
from conversations.services import add_members, delete_device, leave_convo
from keypackages import tasks
from keypackages.errors import WelcomeConsumed, WelcomeNotFound
from keypackages.models import KeyPackage, Welcome
from keypackages.services import confirm_welcome, publish_key_packages, register_device, sync_key_packages, take_welcome
from tests.devices import ALICE, BOB, Phone
from tests.situations import Talk, a_convo, bundle_of, packages_of

PLACES = st.integers(0, 11)
# More with CATBIRD_HISTORIES, for a long search by hand.
HISTORIES = int(os.environ.get("CATBIRD_HISTORIES", "20"))


@dataclass
class Expected:
    """What the model knows of one device of Bob's."""

    phone: Phone
    registered: bool = False
    # Convos whose Welcome waits for this very installation.
    waiting: list[Talk] = field(default_factory=list)


def one_of(devices: list[Expected], place: int) -> Expected:
    return devices[place % len(devices)]


class Directory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.alice = Phone(ALICE)
        self.devices = [Expected(Phone(BOB, f"device {number}")) for number in range(3)]

    def registered(self) -> list[Expected]:
        return [device for device in self.devices if device.registered]

    def expecting(self) -> list[Expected]:
        return [device for device in self.devices if device.waiting]

    @rule(place=PLACES, packages=st.integers(1, 3))
    def register(self, place: int, packages: int) -> None:
        """For the first time or again, with the same key."""
        device = self.devices[place % len(self.devices)]
        device.phone.device_id = register_device(
            did=BOB,
            name=device.phone.name,
            device_uuid=device.phone.uuid,
            signature_key=device.phone.signature_key,
            key_packages=device.phone.items(packages),
        ).pk
        device.registered = True

    @precondition(lambda self: self.registered())
    @rule(place=PLACES)
    def publish(self, place: int) -> None:
        device = one_of(self.registered(), place)
        assert publish_key_packages(did=BOB, items=device.phone.items(1)) == {}

    @precondition(lambda self: self.registered())
    @rule(place=PLACES)
    def sync_with_nothing(self, place: int) -> None:
        """A device that says it has no package at all: what is under way stays."""
        sync_key_packages(did=BOB, handle=one_of(self.registered(), place).phone.device_id, local=set())

    @precondition(lambda self: self.registered())
    @rule(place=PLACES)
    def add(self, place: int) -> None:
        device = one_of(self.registered(), place)
        if package := packages_of(device.phone):
            talk = a_convo(self.alice)
            made = talk.founder.add(talk.id, package)
            add_members(convo_id=talk.id, who=Asking(ALICE), dids=[BOB], bundle=bundle_of(made), key=None)
            device.waiting.append(talk)

    @precondition(lambda self: self.expecting())
    @rule(place=PLACES, twice=st.booleans())
    def fetch_and_join(self, place: int, twice: bool) -> None:
        device = one_of(self.expecting(), place)
        talk = device.waiting.pop()
        for _ in range(1 + twice):
            welcome = take_welcome(convo_id=talk.id, did=BOB, device_id=device.phone.device_id)
        assert device.phone.client.join(welcome.body, welcome.ratchet_tree).active
        self.confirm(device, talk, success=True)
        with pytest.raises(WelcomeConsumed):
            take_welcome(convo_id=talk.id, did=BOB, device_id=device.phone.device_id)

    @precondition(lambda self: self.expecting())
    @rule(place=PLACES)
    def fetch_and_fail(self, place: int) -> None:
        device = one_of(self.expecting(), place)
        take_welcome(convo_id=device.waiting[-1].id, did=BOB, device_id=device.phone.device_id)
        self.confirm(device, device.waiting[-1], success=False)

    @precondition(lambda self: self.expecting())
    @rule(place=PLACES)
    def leave(self, place: int) -> None:
        device = one_of(self.expecting(), place)
        talk = device.waiting.pop()
        leave_convo(convo_id=talk.id, who=Asking(BOB, device.phone.device_id), target_did=None, proposal=None)
        with pytest.raises((WelcomeConsumed, WelcomeNotFound)):
            take_welcome(convo_id=talk.id, did=BOB, device_id=device.phone.device_id)

    @precondition(lambda self: self.registered())
    @rule(place=PLACES)
    def delete(self, place: int) -> None:
        device = one_of(self.registered(), place)
        delete_device(did=BOB, handle=device.phone.device_id)
        self.devices[self.devices.index(device)] = Expected(Phone(BOB, device.phone.name))

    @rule()
    def keep_house(self) -> None:
        tasks.expire.apply(throw=True)
        tasks.purge.apply(throw=True)

    @invariant()
    def every_usable_welcome_is_there(self) -> None:
        for device in self.devices:
            for talk in device.waiting:
                mine = Welcome.objects.filter(convo_id=talk.id, device_id=device.phone.device_id)
                usable = mine.filter(state__in=["waiting", "fetched"], body__isnull=False, key_package__isnull=False)
                assert usable.count() == 1

    @invariant()
    def no_package_admits_twice(self) -> None:
        spent = KeyPackage.objects.filter(spent_at__isnull=False).values_list("reference", flat=True)
        assert len(set(map(bytes, spent))) == len(spent)
        named = [bytes(reference) for reference in Welcome.objects.values_list("reference", flat=True)]
        assert len(set(named)) == len(named)

    @staticmethod
    def confirm(device: Expected, talk: Talk, *, success: bool) -> None:
        confirm_welcome(
            convo_id=talk.id, did=BOB, device_id=device.phone.device_id, success=success, details="simulated"
        )


@pytest.mark.django_db
def test_no_history_strands_a_welcome() -> None:
    class Isolated(Directory):
        """Each history in a transaction of its own that is rolled back."""

        def __init__(self) -> None:
            self.atomic = transaction.atomic()
            # As Django's own test cases do: durable blocks inside count as outermost.
            self.atomic._from_testcase = True
            self.atomic.__enter__()
            super().__init__()

        def teardown(self) -> None:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    run_state_machine_as_test(
        Isolated,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # A failing history is short enough as it is found, and shrinking it takes minutes.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
