"""What many callers at once may not break in the directory; each fails when its lock or constraint is taken out."""

from functools import partial

import pytest

from conversations.additions import pending_additions
from conversations.models import AdditionClaim
from conversations.selectors import Asking
from conversations.services import add_members, claim_addition
from keypackages.errors import KeyPackageNotFound
from keypackages.models import Device, KeyPackage, Welcome
from keypackages.services import publish_key_packages, register_device, take_welcome
from tests.devices import ALICE, BOB, Phone
from tests.races.threads import at_once, failures, succeeded
from tests.situations import Talk, a_convo, a_device, add_unjoined, bundle_of, packages_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_package_is_spent_by_exactly_one_of_many_commits() -> None:
    bob = Phone(BOB)
    a_device(bob, packages=1)
    talks = [a_convo(Phone(ALICE)) for _ in range(8)]
    package = packages_of(bob)
    works = [
        partial(
            add_members,
            convo_id=talk.id,
            who=Asking(ALICE),
            dids=[BOB],
            bundle=bundle_of(talk.founder.add(talk.id, package)),
            key=None,
        )
        for talk in talks
    ]
    results = at_once(works)
    assert len(succeeded(results)) == 1
    assert failures(results) == ["KeyPackageNotFound"] * 7
    assert Welcome.objects.count() == 1


def test_a_welcome_is_taken_once_without_a_grace_time(settings: pytest.FixtureRequest) -> None:
    settings.CATBIRD_WELCOME_GRACE_SECONDS = 0  # type: ignore[attr-defined]
    talk = a_convo(Phone(ALICE))
    add_unjoined(talk, talk.founder, Phone(BOB))
    results = at_once([partial(take_welcome, convo_id=talk.id, did=BOB, device_id=None)] * 8)
    assert len(succeeded(results)) == 1
    assert failures(results) == ["WelcomeConsumed"] * 7


def test_an_account_never_gets_an_eleventh_device() -> None:
    phones = [Phone(ALICE) for _ in range(16)]
    works = [
        partial(
            register_device,
            did=ALICE,
            name=phone.name,
            device_uuid=phone.uuid,
            signature_key=phone.signature_key,
            key_packages=[],
        )
        for phone in phones
    ]
    results = at_once(works)
    assert failures(results) == ["TooManyDevices"] * 6
    assert Device.objects.count() == 10


def test_a_package_published_by_many_at_once_is_there_once() -> None:
    bob = Phone(BOB)
    a_device(bob, packages=0)
    items = bob.items(3)
    results = at_once([partial(publish_key_packages, did=BOB, items=items)] * 6)
    assert failures(results) == []
    assert KeyPackage.objects.count() == 3


@pytest.mark.parametrize(("packages", "admitted"), [(50, 50), (40, 40)])
def test_fifty_convos_add_one_device_at_once(packages: int, admitted: int) -> None:
    """Each asks the directory, commits, and asks again when its package was taken."""
    bob = Phone(BOB)
    a_device(bob, packages=packages)
    alice = Phone(ALICE)
    talks = [a_convo(alice) for _ in range(50)]
    results = at_once([partial(add_until_done, talk, bob) for talk in talks])
    assert len(succeeded(results)) == admitted
    assert failures(results) == ["KeyPackageNotFound"] * (50 - admitted)
    spent = KeyPackage.objects.filter(spent_at__isnull=False)
    assert spent.count() == spent.values("spent_in_convo").distinct().count() == admitted
    assert Welcome.objects.values("reference").distinct().count() == Welcome.objects.count() == admitted


def add_until_done(talk: Talk, phone: Phone) -> str:
    while True:
        package = packages_of(phone)
        if not package:
            raise KeyPackageNotFound(did=phone.did)
        group = talk.founder.group(talk.id)
        made = bundle_of(group.commit(add=package))
        try:
            add_members(convo_id=talk.id, who=Asking(ALICE), dids=[phone.did], bundle=made, key=None)
        except KeyPackageNotFound:
            group.discard()
        else:
            group.confirm()
            return talk.id


def test_a_new_device_is_promised_by_one_member_only() -> None:
    talk = a_convo(*(Phone(f"did:plc:friend{number}") for number in range(6)), Phone(BOB))
    a_device(Phone(BOB, "laptop"))
    (addition,) = pending_additions([talk.id])
    members = [phone.did for phone in talk.phones if phone.did != BOB]
    results = at_once([partial(claim_addition, who=Asking(did), pending_addition_id=addition.id) for did in members])
    # at_once leaves out what is None, which is what the losers get.
    assert failures(results) == []
    assert len(results) == 1
    assert AdditionClaim.objects.count() == 1
