"""A delivery service of a few hundred lines, in memory, that can lose answers and refuse calls on demand.

It follows each group with the real public half of MLS, so that what a client gets away with here is what MLS
allows, and checks every request against its lexicon. It has no idea of rights, limits or time.
"""

import asyncio
import base64
import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from contract import require_declared
from openmls import MlsError
from openmls.delivery import CommitInfo, ExternalSigner, PublicGroup, key_package, peek

from catbird.wire import SUITES, Json, as_bytes, decode, encode

PAGE_SIZE = 10
NOW = "2026-01-01T00:00:00.000Z"
LATER = "2026-01-01T00:00:01.000Z"
DID = b"did:web:localhost"


class Refused(Exception):
    def __init__(self, status: int, name: str, **more: Any) -> None:
        super().__init__(name)
        self.status = status
        self.body = {"error": name, "message": more.pop("message", name), **more}


@dataclass
class Device:
    id: str
    did: str
    name: str
    key: bytes
    packages: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Convo:
    id: str
    name: str
    group: PublicGroup
    group_info: bytes | None = None
    log: list[Json] = field(default_factory=list)
    welcomes: dict[str, tuple[bytes, bytes, int]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    first_seq: dict[bytes, int] = field(default_factory=dict)
    last_seq: dict[bytes, int] = field(default_factory=dict)
    left: set[bytes] = field(default_factory=set)
    replies: dict[str, Json] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)

    def append(self, kind: str, data: bytes, epoch: int, entry_id: str | None = None) -> int:
        seq = len(self.log) + 1
        view = {"id": entry_id or f"{kind}-{seq}", "convoId": self.id, "ciphertext": as_bytes(data)}
        self.log.append(view | {"epoch": epoch, "seq": seq, "createdAt": NOW, "messageType": kind})
        return seq

    def has(self, device: Device) -> bool:
        keys = {member.signature_key for member in self.group.members()} - self.left
        return device.key in keys


class StandIn:
    """``lose[method] = n`` performs the next n calls of a method and loses their answers.

    ``refuse[method]`` holds refusals for its next calls, ``before[method]`` something that comes in between.
    """

    def __init__(self) -> None:
        self.signer = ExternalSigner.derive(b"a secret of at least 32 bytes, or more")
        self.devices: dict[str, Device] = {}
        self.convos: dict[str, Convo] = {}
        self.calls: list[str] = []
        self.given: dict[str, Json] = {}
        self.lose: Counter[str] = Counter()
        self.refuse: defaultdict[str, list[Refused]] = defaultdict(list)
        self.before: dict[str, Callable[[], Any]] = {}
        self.hints: list[Json] = []
        self.rung = asyncio.Event()

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.rpartition(".")[2]
        self.calls.append(method)
        did = _issuer(request)
        if hook := self.before.pop(method, None):
            await hook()
        given = json.loads(request.content) if request.content else _parameters(request.url)
        require_declared(method, request.method, given)
        self.given[method] = given
        if method == "streamConvoEvents":
            return httpx.Response(200, content=self._stream(did, given, self._places(did, given)))
        try:
            if self.refuse[method]:
                raise self.refuse[method].pop(0)
            answer = getattr(self, f"do_{method}")(did, given)
        except Refused as refused:
            return httpx.Response(refused.status, json=refused.body)
        self.rung.set()
        if self.lose[method]:
            self.lose[method] -= 1
            raise httpx.ReadTimeout("the answer is lost", request=request)
        return httpx.Response(200, json=answer)

    def do_registerDevice(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        device_id = f"device-{given['deviceUUID']}"
        key = decode(given["signaturePublicKey"])
        self.devices.setdefault(device_id, Device(device_id, did, given["deviceName"], key))
        self._publish(did, given)
        answer = {"deviceId": device_id, "mlsDid": f"{did}#{device_id}", "autoJoinedConvos": []}
        credential = b"\0\1" + bytes([len(DID)]) + DID
        sender = {"credential": as_bytes(credential), "signatureKey": as_bytes(self.signer.public)}
        return answer | {"externalSender": sender}

    def do_publishKeyPackages(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        self._publish(did, given)
        return {"succeeded": len(given["keyPackages"]), "failed": 0}

    def _publish(self, did: str, given: Json) -> None:
        for item in given["keyPackages"]:
            info = key_package(decode(item["keyPackage"]))
            device = next(d for d in self.devices.values() if d.key == info.signature_key)
            device.packages[info.reference.hex()] = info.raw

    def do_listDevices(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        mine = [device for device in self.devices.values() if device.did == did]
        return {
            "devices": [
                {"deviceId": device.id, "deviceName": device.name, "keyPackageCount": len(device.packages)}
                for device in mine
            ]
        }

    def do_getKeyPackages(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        offered = [
            {"did": device.did, "keyPackage": encode(data), "keyPackageHash": ref, "cipherSuite": SUITES[1]}
            for device in self.devices.values()
            if device.did in given["dids"]
            for ref, data in list(device.packages.items())[:1]
        ]
        return {"keyPackages": offered}

    def do_createConvo(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        group = PublicGroup.create(decode(given["groupInfo"]))
        convo = self.convos.setdefault(given["groupId"], Convo(given["groupId"], "", group))
        convo.name, convo.group_info = given["metadata"]["name"], decode(given["groupInfo"])
        convo.first_seq[group.members()[0].signature_key] = 0
        return self._view(convo)

    def do_addMembers(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo(did, given)
        if reply := convo.replies.get(given["idempotencyKey"]):
            return reply
        self._commit(convo, given)
        reply = {"success": True, "newEpoch": convo.group.epoch, "seq": len(convo.log)}
        convo.replies[given["idempotencyKey"]] = reply
        return reply

    def do_removeMember(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        return self.do_addMembers(did, given) | {"ok": True}

    def _commit(self, convo: Convo, given: Json) -> None:
        welcomes = [decode(given["welcomeMessage"])] if "welcomeMessage" in given else []
        before = convo.group
        info, _ = self._append(convo, decode(given["commit"]), decode(given["groupInfo"]), welcomes)
        for added in info.added:
            device = next(d for d in self.devices.values() if d.key == added.signature_key)
            device.packages.pop((added.reference or b"").hex())
            convo.used.discard(device.id)
            convo.welcomes[device.id] = (welcomes[0], convo.group.ratchet_tree(), before.epoch + 1)
            self.hints = [hint for hint in self.hints if hint.get("userDid") != device.did]

    def _append(
        self, convo: Convo, commit: bytes, group_info: bytes, welcomes: list[bytes]
    ) -> tuple[CommitInfo, int]:
        if peek(commit).epoch != convo.group.epoch:
            raise Refused(409, "EpochMismatch", currentEpoch=convo.group.epoch)
        try:
            info, after = convo.group.process_commit(commit, group_info=group_info, welcomes=welcomes)
        except MlsError as error:
            raise Refused(400, "InvalidCommit", message=str(error)) from None
        expected = {proposal.reference for proposal in convo.group.pending_proposals}
        if info.kind == "member" and not expected <= set(info.covered):
            raise Refused(400, "InvalidCommit", message="commit.pending_removal_left_out")
        convo.group, convo.group_info = after, group_info
        seq = convo.append("commit", commit, after.epoch)
        for removed in info.removed:
            convo.last_seq.setdefault(removed.signature_key, seq)
        for added in info.added:
            convo.first_seq[added.signature_key] = seq
            convo.last_seq.pop(added.signature_key, None)
            convo.left.discard(added.signature_key)
        return info, seq

    def do_getGroupInfo(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo_of_account(did, given)
        if convo.group_info is None:
            raise Refused(404, "GroupInfoUnavailable")
        tree = encode(convo.group.ratchet_tree())
        return {"groupInfo": encode(convo.group_info), "ratchetTree": tree, "epoch": convo.group.epoch}

    def do_processExternalCommit(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo_of_account(did, given)
        if reply := convo.replies.get(given["idempotencyKey"]):
            return reply
        commit, group_info = decode(given["externalCommit"]), decode(given["groupInfo"])
        _, seq = self._append(convo, commit, group_info, [])
        convo.welcomes.pop(given["deviceId"], None)
        reply = {"epoch": convo.group.epoch, "rejoinedAt": NOW, "seq": seq}
        convo.replies[given["idempotencyKey"]] = reply
        return reply

    def do_getExpectedConversations(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        device = self.devices[given["deviceId"]]
        expected = [
            {"convoId": convo.id, "name": convo.name, "memberCount": 1, "shouldBeInGroup": True,
             "deviceInGroup": convo.has(device), "needsRejoin": not convo.has(device)}
            for convo in self._convos_of(did)
        ]  # fmt: skip
        return {"conversations": expected}

    def do_rejoin(self, did: str, given: Json) -> Json:
        self._publish(did, {"keyPackages": [{"keyPackage": given["keyPackage"]}]})
        return {"requestId": "1", "pending": True} | self.do_readdition(did, given)

    def do_readdition(self, did: str, given: Json) -> Json:
        convo = self._convo_of_account(did, given)
        self.hint("readditionRequestedEvent", convo.id, userDid=did, requestedAt=LATER)
        return {"requested": True}

    def do_groupInfoRefresh(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo_of_account(did, given)
        self.hint("groupInfoRefreshRequestedEvent", convo.id, requestedBy=did, requestedAt=LATER)
        return {"requested": True}

    def do_updateGroupInfo(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo(did, given)
        if given["epoch"] != convo.group.epoch:
            raise Refused(409, "EpochMismatch", currentEpoch=convo.group.epoch)
        convo.group_info = decode(given["groupInfo"])
        assert PublicGroup.create(convo.group_info).epoch == given["epoch"]
        return {"updated": True}

    def do_getCommits(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo(did, given)
        asked = range(int(given["fromEpoch"]), int(given["toEpoch"]) + 1)
        found = [view for view in convo.log if view["messageType"] == "commit" and view["epoch"] in asked]
        commits = [
            {"epoch": view["epoch"], "sender": did, "commitData": view["ciphertext"], "createdAt": NOW}
            for view in found
        ]
        return {"convoId": convo.id, "commits": commits}

    def do_getEpoch(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        return {"currentEpoch": self._convo(did, given).group.epoch}

    def hint(self, name: str, convo_id: str, **fields: str) -> None:
        """Tell whoever listens, and whoever connects later."""
        self.hints.append({"type": name, "convoId": convo_id, **fields})
        self.rung.set()

    def propose(self, convo_id: str, proposal: bytes) -> None:
        """The server's own proposal, as an entry of the log."""
        convo = self.convos[convo_id]
        _, convo.group = convo.group.process_proposal(proposal)
        convo.append("proposal", proposal, convo.group.epoch)
        self.rung.set()

    def propose_removal(self, convo_id: str, did: str) -> None:
        """Of the first leaf of an account."""
        group = self.convos[convo_id].group
        leaf = next(member.leaf_index for member in group.members() if member.identity == did.encode())
        self.propose(convo_id, self.signer.propose_remove(group.group_id, group.epoch, leaf))

    def do_leaveConvo(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo(did, given)
        proposal = decode(given["commit"])
        if peek(proposal).epoch != convo.group.epoch:
            raise Refused(409, "EpochMismatch", currentEpoch=convo.group.epoch)
        _, convo.group = convo.group.process_proposal(proposal)
        key = self.devices[given["deviceId"]].key
        seq = convo.append("proposal", proposal, convo.group.epoch)
        convo.left.add(key)
        convo.last_seq[key] = seq
        return {"success": True, "newEpoch": convo.group.epoch, "seq": seq}

    def do_sendMessage(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self._convo(did, given)
        if reply := convo.replies.get(given["msgId"]):
            return reply
        if given["epoch"] != convo.group.epoch:
            raise Refused(409, "EpochMismatch", currentEpoch=convo.group.epoch)
        seq = convo.append("app", decode(given["ciphertext"]), given["epoch"], given["msgId"])
        reply = {"messageId": given["msgId"], "receivedAt": NOW, "seq": seq, "epoch": given["epoch"]}
        convo.replies[given["msgId"]] = reply
        return reply

    def do_getMessages(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo, device = self.convos[given["convoId"]], self.devices[given["deviceId"]]
        since = max(int(given["sinceSeq"]), convo.first_seq.get(device.key, 0))
        if since >= convo.last_seq.get(device.key, len(convo.log) + 1):
            raise Refused(403, "NotMember")
        readable = convo.log[since : convo.last_seq.get(device.key)]
        page = [view for view in readable if view["seq"] not in convo.deleted][:PAGE_SIZE]
        last = page[-1]["seq"] if page else since
        more = {"cursor": str(last)} if readable and last < readable[-1]["seq"] else {}
        return {"messages": page, "lastSeq": last} | more

    def do_getWelcome(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        convo = self.convos[given["convoId"]]
        if given["deviceId"] in convo.used:
            raise Refused(410, "WelcomeConsumed")
        if given["deviceId"] not in convo.welcomes:
            raise Refused(404, "WelcomeNotFound")
        welcome, tree, epoch = convo.welcomes[given["deviceId"]]
        return {"convoId": convo.id, "welcome": encode(welcome), "ratchetTree": encode(tree), "epoch": epoch}

    def do_confirmWelcome(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        if given["success"]:
            self.convos[given["convoId"]].used.add(given["deviceId"])
        return {"confirmed": True}

    def do_getConvos(self, did: str, given: Json) -> Json:  # noqa: N802 - named as on the wire
        return {"conversations": [self._view(convo) for convo in self._convos_of(did)]}

    def _convos_of(self, did: str) -> list[Convo]:
        mine = [device for device in self.devices.values() if device.did == did]
        return [convo for convo in self.convos.values() if any(convo.has(device) for device in mine)]

    def _convo_of_account(self, did: str, given: Json) -> Convo:
        """Any device of a member account may come in."""
        convo = self.convos.get(given["convoId"])
        if convo is None or convo not in self._convos_of(did):
            raise Refused(403, "Unauthorized")
        return convo

    def _view(self, convo: Convo) -> Json:
        present = [device for device in self.devices.values() if convo.has(device)]
        members = [
            {"did": device.did, "userDid": device.did, "deviceId": device.id, "joinedAt": NOW}
            for device in present
        ]
        view = {"groupId": convo.id, "epoch": convo.group.epoch, "metadata": {"name": convo.name}}
        return view | {"members": members, "lastSeq": len(convo.log)}

    def _convo(self, did: str, given: Json) -> Convo:
        """The convo, for members: the device when one is named, else any of the account."""
        convo = self.convos.get(given["convoId"])
        mine = [d for d in self.devices.values() if d.did == did and given.get("deviceId") in (None, d.id)]
        if convo is None or not any(convo.has(device) for device in mine):
            raise Refused(403, "NotMember")
        return convo

    def _places(self, did: str, given: Json) -> dict[str, int]:
        """Where a stream begins in each convo: at the cursor in one, at the end in all."""
        if "convoId" in given:
            return {given["convoId"]: int(given["cursor"])}
        return {convo.id: len(convo.log) for convo in self.convos.values()}

    async def _stream(self, did: str, given: Json, places: dict[str, int]) -> AsyncGenerator[bytes, None]:
        yield b": hello\n\n"
        device = self.devices[given["deviceId"]]
        told: list[Json] = []
        while True:
            for hint in [hint for hint in self.hints if hint not in told and hint.get("userDid") != did]:
                told.append(hint)
                yield f"event: {hint['type']}\ndata: {json.dumps(hint)}\n\n".encode()
            watched = [given["convoId"]] if "convoId" in given else list(self.convos)
            for convo in (self.convos[convo_id] for convo_id in watched):
                for view in convo.log[places.get(convo.id, 0) :] if convo.has(device) else []:
                    places[convo.id] = view["seq"]
                    body = {"type": "messageEvent", "cursor": str(sum(places.values())), "message": view}
                    yield f"id: {body['cursor']}\nevent: messageEvent\ndata: {json.dumps(body)}\n\n".encode()
            self.rung.clear()
            await self.rung.wait()


def _issuer(request: httpx.Request) -> str:
    claims = request.headers["authorization"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=="))["iss"])


def _parameters(url: httpx.URL) -> Json:
    lists = {name: url.params.get_list(name) for name in ("dids",) if name in url.params}
    return dict(url.params.items()) | lists
