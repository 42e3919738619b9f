from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import BytesField
from catbird_mls.xrpc.views import Procedure
from conversations.services import register_device
from conversations.shapes import external_sender_view
from keypackages.xrpc.fields import KeyPackageBatch

SIGNATURE_KEY_MAX_BYTES = 133


class RegisterDevice(Procedure):
    nsid = "blue.catbird.mls.registerDevice"

    class Input(serializers.Serializer[Any]):
        deviceName = serializers.CharField(source="name", allow_blank=True)
        deviceUUID = serializers.CharField(source="device_uuid", max_length=128, required=False)
        deviceUuid = serializers.CharField(source="device_uuid_too", max_length=128, required=False)
        keyPackages = KeyPackageBatch(source="key_packages")
        signaturePublicKey = BytesField(source="signature_key", max_length=SIGNATURE_KEY_MAX_BYTES)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        device, waiting = register_device(
            did=caller.did,
            name=given["name"],
            device_uuid=given.get("device_uuid") or given.get("device_uuid_too", ""),
            signature_key=given["signature_key"],
            key_packages=given["key_packages"],
        )
        return {
            "deviceId": device.device_id,
            "mlsDid": device.mls_did,
            "autoJoinedConvos": waiting,
            "externalSender": external_sender_view(given["signature_key"]),
        }
