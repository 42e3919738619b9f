from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import IntegrityError, transaction

from conversations.errors import ConvoAlreadyExists, InvalidGroupInfo, TooManyMembers
from conversations.framing import KNOWN_SUITES, TRACKED_SUITES, StoredGroup, found_group
from conversations.models import Convo, GroupState, Mode
from conversations.selectors import Asking
from conversations.services.log import CREATE_CONVO, record_epoch
from conversations.services.opaque import welcome_newcomers
from conversations.services.refusals import journaled
from conversations.services.roster import Newcomer, open_places
from keypackages.errors import InvalidCipherSuite
from keypackages.selectors import devices_of_keys, registered_devices


@dataclass(frozen=True, slots=True)
class NewConvo:
    """What a creator asks for; a GroupInfo makes the convo tracked."""

    group_id: bytes
    cipher_suite: str
    name: str = ""
    description: str = ""
    epoch: int = 0
    group_info: bytes | None = None
    ratchet_tree: bytes | None = None
    dids: Sequence[str] = ()
    welcomes: Sequence[bytes] = ()
    claimed: Sequence[bytes] = ()

    @property
    def mode(self) -> Mode:
        return Mode.TRACKED if self.group_info is not None else Mode.OPAQUE


def create_convo(*, who: Asking, new: NewConvo) -> Convo:
    """Found a convo with its creator in it. The creator asking again gets the same convo; it is made once."""
    if new.cipher_suite not in (TRACKED_SUITES if new.mode == Mode.TRACKED else KNOWN_SUITES):
        raise InvalidCipherSuite("This cipher suite is not served.")
    with (
        journaled(CREATE_CONVO, "GroupInfo", convo_id=new.group_id.hex(), who=who, body=new.group_info),
        transaction.atomic(durable=True),
    ):
        if existing := _existing(new, who):
            return existing
        return _found_tracked(who, new) if new.mode == Mode.TRACKED else _found_opaque(who, new)


def _existing(new: NewConvo, who: Asking) -> Convo | None:
    convo = Convo.objects.filter(pk=new.group_id.hex()).first()
    if convo is None:
        return None
    if convo.creator_did != who.did or convo.mode != new.mode:
        raise ConvoAlreadyExists("A conversation with this group id exists.")
    return convo


def _found_tracked(who: Asking, new: NewConvo) -> Convo:
    assert new.group_info is not None
    group = found_group(group_info_bytes=new.group_info, ratchet_tree=new.ratchet_tree)
    if group.group_id != new.group_id:
        raise InvalidGroupInfo("group_info.wrong_group_id: the GroupInfo is of another group.")
    if group.ciphersuite != TRACKED_SUITES[new.cipher_suite]:
        raise InvalidGroupInfo("group_info.ciphersuite: the GroupInfo is of another cipher suite.")
    founders = group.members()
    if len(founders) != 1:
        raise InvalidGroupInfo("group_info.not_alone: a new group has exactly one member, its creator.")
    device_id = _founding_device(who, founders[0].signature_key, founders[0].identity)
    convo = _insert(who, new, epoch=group.epoch)
    stored = StoredGroup.of(group)
    GroupState.objects.create(
        convo=convo,
        epoch=group.epoch,
        ratchet_tree=stored.ratchet_tree,
        group_context=stored.group_context,
        confirmation_tag=stored.confirmation_tag,
        group_info=new.group_info,
    )
    founder = Newcomer(who.did, device_id, founders[0].leaf_index, is_admin=True)
    open_places(convo, [founder])
    record_epoch(convo, by=founder, nsid=CREATE_CONVO, added=[founder])
    return convo


def _founding_device(who: Asking, signature_key: bytes, identity: bytes | None) -> str:
    device = devices_of_keys([signature_key]).get((who.did, signature_key))
    if device is None or who.device_id not in {None, device.device_id}:
        raise InvalidGroupInfo("group_info.unknown_signature_key: the leaf is not a registered device of yours.")
    named_by_key = settings.CATBIRD_ALLOW_KEY_CREDENTIALS and identity == signature_key
    if not named_by_key and (identity or b"").partition(b"#")[0] != who.did.encode():
        raise InvalidGroupInfo("group_info.wrong_credential: the leaf names another account.")
    return device.device_id


def _found_opaque(who: Asking, new: NewConvo) -> Convo:
    others = [did for did in dict.fromkeys(new.dids) if did != who.did]
    if len(others) + 1 > settings.CATBIRD_MAX_MEMBERS:
        raise TooManyMembers(f"A conversation has at most {settings.CATBIRD_MAX_MEMBERS} members.")
    convo = _insert(who, new, epoch=new.epoch)
    founder = Newcomer(who.did, who.device_id or _only_device(who.did), is_admin=True)
    open_places(convo, [founder])
    added = welcome_newcomers(convo, dids=others, welcomes=new.welcomes, epoch=new.epoch + 1, claimed=new.claimed)
    record_epoch(convo, by=founder, nsid=CREATE_CONVO, added=[founder, *added])
    return convo


def _only_device(did: str) -> str:
    """The account's one device, or none in particular when it has several."""
    ids = list(registered_devices(did).values_list("pk", flat=True)[:2])
    return ids[0] if len(ids) == 1 else ""


def _insert(who: Asking, new: NewConvo, *, epoch: int) -> Convo:
    try:
        with transaction.atomic():
            convo = Convo.objects.create(
                id=new.group_id.hex(),
                group_id=new.group_id,
                creator_did=who.did,
                cipher_suite=new.cipher_suite,
                mode=new.mode,
                epoch=epoch,
                name=new.name,
                description=new.description,
            )
    except IntegrityError:
        raise ConvoAlreadyExists("A conversation with this group id exists.") from None
    convo.refresh_from_db(fields=["created_at"])
    return convo
