"""Parts of inputs that several methods of this app share."""

import re
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.fields import BytesField, DidField, HexField
from conversations.framing import COMMIT_MAX_BYTES, GROUP_INFO_MAX_BYTES
from conversations.models import CONVO_ID_MAX_LENGTH
from conversations.services import CommitBundle
from keypackages.framing import WELCOME_MAX_BYTES

WELCOMES_MAX = 2000
REFERENCE_MAX_BYTES = 64
PLAIN_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def is_plain_id(value: Any) -> bool:
    """An id that no serializer would refuse or change."""
    return isinstance(value, str) and PLAIN_ID.fullmatch(value) is not None


class ConvoIdField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(source="convo_id", max_length=CONVO_ID_MAX_LENGTH, **options)


class GroupIdField(HexField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_bytes=CONVO_ID_MAX_LENGTH // 2, **options)


class KeyPackageHashEntry(serializers.Serializer[Any]):
    did = DidField()
    hash = HexField(max_bytes=REFERENCE_MAX_BYTES)


class CommitInput(serializers.Serializer[Any]):
    """A commit with what may come beside it."""

    commit = BytesField(max_length=COMMIT_MAX_BYTES, required=False)
    groupInfo = BytesField(source="group_info", max_length=GROUP_INFO_MAX_BYTES, required=False)
    deviceId = serializers.CharField(source="device", required=False)


class WelcomeInput(CommitInput):
    welcomeMessage = BytesField(source="welcome", max_length=WELCOME_MAX_BYTES, required=False)
    welcomeMessages = serializers.ListField(
        source="welcomes", child=BytesField(max_length=WELCOME_MAX_BYTES), max_length=WELCOMES_MAX, required=False
    )
    keyPackageHashes = KeyPackageHashEntry(source="claims", many=True, required=False)


def commit_bundle(given: Mapping[str, Any]) -> CommitBundle | None:
    """The commit of a request and its company, or None when it brings no commit."""
    if "commit" not in given:
        return None
    first = [given["welcome"]] if "welcome" in given else []
    return CommitBundle(
        commit=given["commit"],
        welcomes=[*first, *given.get("welcomes", ())],
        group_info=given.get("group_info"),
        claimed=claimed_references(given),
    )


def claimed_references(given: Mapping[str, Any]) -> list[bytes]:
    return [entry["hash"] for entry in given.get("claims", ())]
