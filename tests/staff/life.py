"""Some of everything, as often as wanted, so that no page of staff is empty."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

from django.apps import apps
from django.db import models
from django.db.models import F
from django.test import override_settings
from django.utils import timezone

from catbird_mls.xrpc.errors import XrpcError
from conversations.additions import pending_additions
from conversations.doors import want_group_info
from conversations.models import Rollout
from conversations.rejoining import EXTERNAL_COMMITS
from conversations.selectors import Asking
from conversations.services import CommitBundle, add_members, append_message, claim_addition, leave_convo
from conversations.services.banning import ban_account
from conversations.services.external import process_external_commit
from conversations.services.mending import ask_for_readding
from delivery.fanout import fan_out
from delivery.models import Dispatch
from delivery.services import keep_push_token
from keypackages.models import Welcome
from keypackages.services import StuckWelcome, opt, publish_key_packages
from tests.devices import ALICE, BOB, CAROL, MALLORY, Phone
from tests.situations import Talk, a_convo, a_device, add_unjoined, bundle_of

SECRET = b"very secret bytes"
OURS: list[type[models.Model]] = [
    model
    for app in ("conversations", "keypackages", "delivery", "journal")
    for model in apps.get_app_config(app).get_models()
]


def address(model: type[models.Model], row: models.Model | None = None) -> str:
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    return path if row is None else f"{path}{row.pk}/change/"


class Life:
    """Alice and Bob found convos; Carol cannot get in, Dan has a new device, Mallory knocks, Bob leaves."""

    def __init__(self) -> None:
        Rollout.objects.create(name=EXTERNAL_COMMITS, percent=100)
        self.alice, self.bob, self.carol = Phone(ALICE), Phone(BOB), Phone(CAROL)
        for phone, packages in ((self.alice, 1), (self.bob, 1), (self.carol, 12)):
            a_device(phone, packages=packages)
        self.talks: list[Talk] = []

    def grow(self) -> None:
        """One row more in every table, nearly always of the same people."""
        for phone in (self.bob, self.carol):
            publish_key_packages(did=phone.did, items=phone.items())
        dan = Phone(f"did:plc:dan{len(self.talks)}")
        talk = a_convo(self.alice, self.bob, dan)
        self.talks.append(talk)
        opt(did=dan.did, into=True)
        self._renew(talk)
        append_message(convo_id=talk.id, who=self._alice(), msg_id="a", epoch=talk.convo.epoch, ciphertext=SECRET)
        keep_push_token(did=dan.did, device_id=dan.device_id, platform="ios", token=uuid4().hex * 2)
        with override_settings(PUSH_PLATFORMS=["ios"]):
            fan_out()
        # What comes now waits for good, so that a row of each convo is left.
        self._lose_carol(talk)
        Dispatch.objects.update(fault="cannot be carried", held_until=timezone.now() + timedelta(days=1))
        self._claim(Phone(dan.did, "another"), talk)
        nonsense = CommitBundle(commit=SECRET, welcomes=[], group_info=None)
        want_group_info(talk.id, "nobody could come in")
        ban_account(convo_id=talk.id, did=MALLORY, by="staff", reason="knocks too often")
        with suppress(XrpcError):
            process_external_commit(convo_id=talk.id, who=Asking(MALLORY), bundle=nonsense, key=None)
        proposal = self.bob.group(talk.id).propose_self_remove()
        leave_convo(convo_id=talk.id, who=Asking(BOB, self.bob.device_id), target_did=None, proposal=proposal)

    def _alice(self) -> Asking:
        return Asking(ALICE, self.alice.device_id)

    def _renew(self, talk: Talk) -> None:
        """With a key, so that the answer is kept."""
        made = self.alice.group(talk.id).commit(update=True)
        add_members(convo_id=talk.id, who=self._alice(), dids=[], bundle=bundle_of(made), key=uuid4().hex)
        self.alice.group(talk.id).confirm()
        for phone in talk.phones[1:]:
            phone.group(talk.id).process(made.commit)

    def _lose_carol(self, talk: Talk) -> None:
        add_unjoined(talk, self.alice, self.carol)
        Welcome.objects.filter(convo_id=talk.id, did=CAROL).update(created_at=F("created_at") - timedelta(hours=2))
        welcome = Welcome.objects.get(convo_id=talk.id, did=CAROL)
        ask_for_readding([StuckWelcome(welcome.pk, talk.id, CAROL, self.carol.device_id)])

    def _claim(self, new: Phone, talk: Talk) -> None:
        a_device(new)
        (addition,) = pending_additions([talk.id])
        claim_addition(who=self._alice(), pending_addition_id=addition.id)


def kept_bytes() -> Iterator[bytes]:
    """Every value of every binary column.

    But ids of convos, which are group ids in another spelling, and hashes that the journal shows on purpose.
    """
    for model in OURS:
        for field in model._meta.fields:
            if isinstance(field, models.BinaryField) and field.name not in {"group_id", "digest"}:
                values = model._default_manager.values_list(field.name, flat=True)
                yield from (bytes(value) for value in values if value)
