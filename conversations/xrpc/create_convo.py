from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField, DidField
from catbird_mls.xrpc.views import Procedure
from conversations.framing import GROUP_INFO_MAX_BYTES
from conversations.listing import convo_view
from conversations.selectors import founder
from conversations.services import NewConvo, create_convo
from conversations.xrpc.fields import GroupIdField, KeyPackageHashEntry, claimed_references
from keypackages.framing import WELCOME_MAX_BYTES

INITIAL_MEMBERS_MAX = 999


class Metadata(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=128, allow_blank=True, default="")
    description = serializers.CharField(max_length=512, allow_blank=True, default="")


class CreateConvo(Procedure):
    nsid = "blue.catbird.mls.createConvo"

    class Input(serializers.Serializer[Any]):
        groupId = GroupIdField(source="group_id")
        idempotencyKey = serializers.CharField(source="key", max_length=64, required=False)
        cipherSuite = serializers.CharField(source="cipher_suite")
        initialMembers = serializers.ListField(
            source="dids", child=DidField(), max_length=INITIAL_MEMBERS_MAX, required=False
        )
        welcomeMessage = BytesField(source="welcome", max_length=WELCOME_MAX_BYTES, required=False)
        keyPackageHashes = KeyPackageHashEntry(source="claims", many=True, required=False)
        metadata = Metadata(required=False)
        currentEpoch = serializers.IntegerField(source="epoch", min_value=0, default=0)
        groupInfo = BytesField(source="group_info", max_length=GROUP_INFO_MAX_BYTES, required=False)
        ratchetTree = BytesField(source="ratchet_tree", max_length=GROUP_INFO_MAX_BYTES, required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        new = NewConvo(
            group_id=given["group_id"],
            cipher_suite=given["cipher_suite"],
            epoch=given["epoch"],
            group_info=given.get("group_info"),
            ratchet_tree=given.get("ratchet_tree"),
            dids=given.get("dids", ()),
            welcomes=[given["welcome"]] if "welcome" in given else [],
            claimed=claimed_references(given),
            **given.get("metadata", {}),
        )
        convo = create_convo(who=founder(did=caller.did, device=given.get("device")), new=new)
        return convo_view(did=caller.did, convo_id=convo.pk)
