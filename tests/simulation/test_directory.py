"""Any order of registering, deleting, syncing, purging, adding, fetching and confirming, against a small model.

The model knows one thing: for which devices a Welcome waits that they could use. Such a Welcome must be
handed out, with bytes the device can join with, whatever else happened in between; and no package may admit twice.
"""

from dataclasses import dataclass, field

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from conversations.selectors import Asking
from conversations.services import add_members, delete_device, leave_convo
from keypackages import tasks
from keypackages.errors import WelcomeConsumed, WelcomeNotFound
from keypackages.models import KeyPackage, Welcome
from keypackages.services import confirm_welcome, publish_key_packages, register_device, sync_key_packages, take_welcome
from tests.devices import ALICE, BOB, Phone
from tests.situations import Talk, a_convo, bundle_of, packages_of

DEVICES = st.integers(0, 2)


@dataclass
class Expected:
    """What the model knows of one device of Bob's."""

    phone: Phone
    registered: bool = False
    # Convos whose Welcome waits for this very installation.
    waiting: list[Talk] = field(default_factory=list)


class Directory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.alice = Phone(ALICE)
        self.devices = [Expected(Phone(BOB, f"device {number}")) for number in range(3)]

    @rule(place=DEVICES, packages=st.integers(0, 3))
    def register(self, place: int, packages: int) -> None:
        """For the first time or again, with the same key."""
        device = self.devices[place]
        device.phone.device_id = register_device(
            did=BOB,
            name=device.phone.name,
            device_uuid=device.phone.uuid,
            signature_key=device.phone.signature_key,
            key_packages=device.phone.items(packages),
        ).pk
        device.registered = True

    @rule(place=DEVICES)
    def publish(self, place: int) -> None:
        device = self.devices[place]
        if device.registered:
            assert publish_key_packages(did=BOB, items=device.phone.items(1)) == {}

    @rule(place=DEVICES)
    def sync_with_nothing(self, place: int) -> None:
        """A device that says it has no package at all: what is under way stays."""
        device = self.devices[place]
        if device.registered:
            sync_key_packages(did=BOB, handle=device.phone.device_id, local=set())

    @rule(place=DEVICES)
    def add(self, place: int) -> None:
        device = self.devices[place]
        package = packages_of(device.phone) if device.registered else []
        if not package:
            return
        talk = a_convo(self.alice)
        made = talk.founder.add(talk.id, package)
        add_members(convo_id=talk.id, who=Asking(ALICE), dids=[BOB], bundle=bundle_of(made), key=None)
        device.waiting.append(talk)

    @rule(place=DEVICES, twice=st.booleans())
    def fetch_and_join(self, place: int, twice: bool) -> None:
        device = self.devices[place]
        if not device.waiting:
            return
        talk = device.waiting.pop()
        for _ in range(1 + twice):
            welcome = take_welcome(convo_id=talk.id, did=BOB, device_id=device.phone.device_id)
        assert device.phone.client.join(welcome.body, welcome.ratchet_tree).active
        self.confirm(device, talk, success=True)
        with pytest.raises(WelcomeConsumed):
            take_welcome(convo_id=talk.id, did=BOB, device_id=device.phone.device_id)

    @rule(place=DEVICES)
    def fetch_and_fail(self, place: int) -> None:
        device = self.devices[place]
        if device.waiting:
            talk = device.waiting[-1]
            take_welcome(convo_id=talk.id, did=BOB, device_id=device.phone.device_id)
            self.confirm(device, talk, success=False)

    @rule(place=DEVICES)
    def leave(self, place: int) -> None:
        device = self.devices[place]
        if device.waiting:
            talk = device.waiting.pop()
            leave_convo(convo_id=talk.id, who=Asking(BOB, device.phone.device_id), target_did=None, proposal=None)
            with pytest.raises((WelcomeConsumed, WelcomeNotFound)):
                take_welcome(convo_id=talk.id, did=BOB, device_id=device.phone.device_id)

    @rule(place=DEVICES)
    def delete(self, place: int) -> None:
        device = self.devices[place]
        if device.registered:
            delete_device(did=BOB, handle=device.phone.device_id)
            self.devices[place] = Expected(Phone(BOB, device.phone.name))

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
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
