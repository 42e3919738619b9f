from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.fields import BytesField
from catbird_mls.xrpc.views import first_reason
from keypackages.errors import InvalidKeyPackage
from keypackages.framing import KEY_PACKAGE_MAX_BYTES


class KeyPackageItem(serializers.Serializer[Any]):
    """A package with its label; its own bytes say how long it lives, ``expires`` may not promise more."""

    keyPackage = BytesField(source="key_package", max_length=KEY_PACKAGE_MAX_BYTES)
    cipherSuite = serializers.CharField(source="cipher_suite")
    expires = serializers.DateTimeField(required=False)
    idempotencyKey = serializers.CharField(max_length=64, required=False)


class KeyPackageBatch(serializers.ListField):
    """Items of which each is either read or stands as its own refusal, so that one never spoils the rest."""

    child = serializers.DictField()

    def to_internal_value(self, data: Any) -> list[Any]:
        return [_item_or_refusal(item) for item in super().to_internal_value(data)]


def _item_or_refusal(item: Any) -> Any:
    read = KeyPackageItem(data=item)
    try:
        read.is_valid(raise_exception=True)
    except serializers.ValidationError as error:
        return InvalidKeyPackage(first_reason(error.detail))
    return read.validated_data
