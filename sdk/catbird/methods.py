"""One function a lexicon method: its input in Python's words, its answer as it came."""

from collections.abc import Mapping, Sequence
from typing import Any

from catbird.wire import Json, as_bytes
from catbird.xrpc import Xrpc

PAGE_SIZE = 100


class Methods:
    """The methods this client speaks. Procedures that may safely be repeated are; ids make them so."""

    def __init__(self, xrpc: Xrpc) -> None:
        self.xrpc = xrpc

    async def repeat(self, method: str, body: Mapping[str, Any]) -> Json:
        """Send a stored request of a procedure whose body carries the id that makes repeating harmless."""
        return await self.xrpc.procedure(method, body, idempotent=True)

    async def register_device(
        self, *, name: str, device_uuid: str, signature_key: bytes, key_packages: Sequence[Json]
    ) -> Json:
        body = {
            "deviceName": name,
            "deviceUUID": device_uuid,
            "signaturePublicKey": as_bytes(signature_key),
            "keyPackages": list(key_packages),
        }
        return await self.xrpc.procedure("registerDevice", body, idempotent=True)

    async def list_devices(self) -> Json:
        return await self.xrpc.query("listDevices")

    async def delete_device(self, device_id: str) -> Json:
        return await self.xrpc.procedure("deleteDevice", {"deviceId": device_id}, idempotent=True)

    async def publish_key_packages(self, key_packages: Sequence[Json]) -> Json:
        body = {"keyPackages": list(key_packages)}
        return await self.xrpc.procedure("publishKeyPackages", body, idempotent=True)

    async def get_key_packages(self, dids: Sequence[str], cipher_suite: str) -> Json:
        return await self.xrpc.query("getKeyPackages", dids=list(dids), cipherSuite=cipher_suite)

    async def get_key_package_stats(self) -> Json:
        return await self.xrpc.query("getKeyPackageStats")

    async def get_convos(self, cursor: str | None = None) -> Json:
        return await self.xrpc.query("getConvos", limit=PAGE_SIZE, cursor=cursor)

    async def get_welcome(self, convo_id: str, device_id: str) -> Json:
        return await self.xrpc.query("getWelcome", convoId=convo_id, deviceId=device_id)

    async def confirm_welcome(
        self, convo_id: str, device_id: str, *, success: bool, details: str | None = None
    ) -> Json:
        body: Json = {"convoId": convo_id, "deviceId": device_id, "success": success}
        if details is not None:
            body["errorDetails"] = details
        return await self.xrpc.procedure("confirmWelcome", body, idempotent=True)

    async def get_messages(self, convo_id: str, device_id: str, *, since_seq: int) -> Json:
        return await self.xrpc.query(
            "getMessages", convoId=convo_id, deviceId=device_id, sinceSeq=since_seq, limit=PAGE_SIZE
        )

    async def get_commits(self, convo_id: str, *, from_epoch: int, to_epoch: int | None = None) -> Json:
        return await self.xrpc.query("getCommits", convoId=convo_id, fromEpoch=from_epoch, toEpoch=to_epoch)

    async def get_epoch(self, convo_id: str) -> int:
        return int((await self.xrpc.query("getEpoch", convoId=convo_id))["currentEpoch"])
