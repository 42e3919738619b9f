"""One function a lexicon method: its input in Python's words, its answer as it came."""

from collections.abc import Mapping, Sequence
from typing import Any

from catbird.wire import Json, as_bytes, encode
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

    async def all_convos(self) -> dict[str, Json]:
        """Every convo of the account, by its id."""
        views: dict[str, Json] = {}
        cursor: str | None = None
        while True:
            page = await self.get_convos(cursor)
            views |= {str(view["groupId"]): view for view in page["conversations"]}
            cursor = page.get("cursor")
            if not cursor:
                return views

    async def get_expected_conversations(self, device_id: str) -> Json:
        return await self.xrpc.query("getExpectedConversations", deviceId=device_id)

    async def get_group_info(self, convo_id: str) -> Json:
        return await self.xrpc.query("getGroupInfo", convoId=convo_id)

    async def update_group_info(
        self, convo_id: str, device_id: str, group_info: bytes, *, epoch: int
    ) -> Json:
        body = {
            "convoId": convo_id,
            "deviceId": device_id,
            "groupInfo": encode(group_info),
            "epoch": epoch,
        }
        return await self.xrpc.procedure("updateGroupInfo", body, idempotent=True)

    async def group_info_refresh(self, convo_id: str) -> Json:
        return await self.xrpc.procedure("groupInfoRefresh", {"convoId": convo_id}, idempotent=True)

    async def rejoin(self, convo_id: str, device_id: str, key_package: str, *, reason: str) -> Json:
        body = {"convoId": convo_id, "deviceId": device_id, "keyPackage": key_package, "reason": reason}
        return await self.xrpc.procedure("rejoin", body, idempotent=True)

    async def readdition(self, convo_id: str, device_id: str) -> Json:
        return await self.xrpc.procedure(
            "readdition", {"convoId": convo_id, "deviceId": device_id}, idempotent=True
        )

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
