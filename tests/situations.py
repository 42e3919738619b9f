"""Where tests begin; every situation is built through services, so none is out of production's reach."""

from dataclasses import dataclass, field
from uuid import uuid4

from django.conf import settings
from openmls.client import CommitBundle as MadeCommit
from openmls.delivery import PublicGroup

from conversations.framing import external_sender
from conversations.models import Convo, GroupState
from conversations.selectors import Asking
from conversations.services import CommitBundle, NewConvo, add_members, create_convo, remove_member
from conversations.services.tracked import stored_group
from keypackages.models import Device
from keypackages.services import confirm_welcome, hand_out_key_packages, register_device, take_welcome
from tests.devices import SUITE, Phone


@dataclass
class Talk:
    """A convo and the devices that are in it, the first of which founded it."""

    id: str
    phones: list[Phone] = field(default_factory=list)
    tracked: bool = True

    @property
    def convo(self) -> Convo:
        return Convo.objects.get(pk=self.id)

    @property
    def founder(self) -> Phone:
        return self.phones[0]


def a_device(phone: Phone, *, packages: int = 2) -> Device:
    """The phone's device, registered with that many packages."""
    device = register_device(
        did=phone.did,
        name=phone.name,
        device_uuid=phone.uuid,
        signature_key=phone.signature_key,
        key_packages=phone.items(packages),
    )
    phone.device_id = device.pk
    return device


def a_convo(founder: Phone, *others: Phone, tracked: bool = True, served: bool = False) -> Talk:
    """A convo of these devices, all of them in it and able to read; a served one lists the server."""
    for phone in (founder, *others):
        if not phone.device_id:
            a_device(phone)
    talk = Talk(uuid4().hex, [founder], tracked)
    group_id = bytes.fromhex(talk.id)
    senders = [(settings.SERVICE_DID.encode(), server_key(founder))] if served else []
    group = founder.client.create_group(group_id, private_handshake=not tracked, external_senders=senders)
    info = group.group_info(with_tree=True) if tracked else None
    create_convo(
        who=_asking(founder),
        new=NewConvo(group_id=group_id, cipher_suite=SUITE, group_info=info),
    )
    if others:
        bring_in(talk, founder, *others)
    return talk


def server_key(phone: Phone) -> bytes:
    """The key with which the server proposes removals to groups of this phone."""
    sender = external_sender(phone.signature_key)
    assert sender is not None
    return sender.signature_key


def bring_in(talk: Talk, by: Phone, *newcomers: Phone) -> None:
    """``by`` adds devices, which then join by their Welcomes; every other member takes the commit."""
    add_unjoined(talk, by, *newcomers)
    for phone in newcomers:
        join(talk, phone)
        talk.phones.append(phone)


def add_unjoined(talk: Talk, by: Phone, *newcomers: Phone) -> None:
    """``by`` adds devices, whose Welcomes wait; every other member takes the commit."""
    for phone in newcomers:
        if not phone.device_id:
            a_device(phone)
    packages = packages_of(*newcomers)
    # Opaque convos have no tree on the server, so their Welcomes carry it.
    bundle = by.group(talk.id).commit(add=packages, with_tree=not talk.tracked)
    add_members(
        convo_id=talk.id,
        who=_asking(by),
        dids=sorted({phone.did for phone in newcomers}),
        bundle=bundle_of(bundle),
        key=None,
    )
    by.group(talk.id).confirm()
    _take(talk, by, bundle.commit)


def remove(talk: Talk, by: Phone, did: str) -> None:
    """``by`` removes every device of an account; those that stay take the commit."""
    group = by.group(talk.id)
    leaves = [leaf.leaf_index for leaf in group.members() if leaf.identity == did.encode()]
    made = group.commit(remove=leaves)
    remove_member(convo_id=talk.id, who=_asking(by), target_did=did, bundle=bundle_of(made), key=uuid4().hex)
    group.confirm()
    talk.phones = [phone for phone in talk.phones if phone.did != did]
    _take(talk, by, made.commit)


def let_in_anew(talk: Talk, by: Phone, phone: Phone) -> None:
    """One commit puts a device's old leaf out and lets it in again; it joins by the Welcome."""
    group = by.group(talk.id)
    made = group.commit(remove=[leaf_of(talk, phone.did)], add=packages_of(phone))
    add_members(convo_id=talk.id, who=_asking(by), dids=[phone.did], bundle=bundle_of(made), key=None)
    group.confirm()
    for other in talk.phones:
        if other not in (by, phone):
            other.group(talk.id).process(made.commit)
    join(talk, phone)


def update(talk: Talk, by: Phone) -> None:
    """``by`` renews its keys."""
    made = by.group(talk.id).commit(update=True)
    add_members(convo_id=talk.id, who=_asking(by), dids=[], bundle=bundle_of(made), key=None)
    by.group(talk.id).confirm()
    _take(talk, by, made.commit)


def _asking(phone: Phone) -> Asking:
    return Asking(phone.did, phone.device_id)


def _take(talk: Talk, by: Phone, commit: bytes) -> None:
    for phone in talk.phones:
        if phone is not by:
            phone.group(talk.id).process(commit)


def join(talk: Talk, phone: Phone) -> None:
    welcome = take_welcome(convo_id=talk.id, did=phone.did, device_id=phone.device_id)
    phone.client.join(welcome.body, welcome.ratchet_tree)
    confirm_welcome(convo_id=talk.id, did=phone.did, device_id=phone.device_id, success=True, details="")


def leaf_of(talk: Talk, did: str) -> int:
    """Where the first device of an account stands in the tree."""
    return next(leaf.leaf_index for leaf in talk.founder.group(talk.id).members() if leaf.identity == did.encode())


def packages_of(*phones: Phone) -> list[bytes]:
    """One package the directory hands out for each of these devices."""
    wanted = {phone.device_id for phone in phones}
    handed = hand_out_key_packages(dids=sorted({phone.did for phone in phones}), cipher_suite=SUITE)
    return [bytes(package.body) for package in handed if package.device_id in wanted]


def bundle_of(made: MadeCommit) -> CommitBundle:
    """What a device made, as the services take it."""
    return CommitBundle(commit=made.commit, welcomes=[made.welcome] if made.welcome else [], group_info=made.group_info)


def stored(talk: Talk) -> PublicGroup:
    """The public group made again from what the server keeps, proposals of the epoch included."""
    return stored_group(talk.convo, GroupState.objects.get(convo_id=talk.id)).rebuild()
