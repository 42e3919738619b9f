import re
from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.views import Query
from conversations.desk import Desk
from conversations.pages import CommitsAsked, commit_page, commits_asked
from conversations.selectors import Asking, asking
from conversations.shapes import LogEntry, commit_view
from conversations.xrpc.fields import ConvoIdField, is_plain_id

EPOCH = re.compile(r"[0-9]{1,18}")
EPOCHS = {"from_epoch": "fromEpoch", "to_epoch": "toEpoch"}
USUAL = frozenset({"convoId", *EPOCHS.values()})


class GetCommits(Query):
    nsid = "blue.catbird.mls.getCommits"

    class Input(serializers.Serializer[Any]):
        convoId = ConvoIdField()
        fromEpoch = serializers.IntegerField(source="from_epoch", min_value=0)
        toEpoch = serializers.IntegerField(source="to_epoch", min_value=0, required=False)
        cursor = serializers.CharField(required=False)
        deviceId = serializers.CharField(source="device", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        asked = _asked(asking(did=caller.did, device=given.get("device")), given)
        return _view(given["convo_id"], *commit_page(asked))

    @staticmethod
    def quick(given: Mapping[str, Any]) -> dict[str, Any] | None:
        epochs = {name: given[wire] for name, wire in EPOCHS.items() if wire in given}
        if not (given.keys() <= USUAL and is_plain_id(given.get("convoId")) and "from_epoch" in epochs):
            return None
        if not all(EPOCH.fullmatch(epoch) for epoch in epochs.values()):
            return None
        return {"convo_id": given["convoId"], **{name: int(epoch) for name, epoch in epochs.items()}}

    @staticmethod
    async def handle_swiftly(desk: Desk, caller: Caller, **given: Any) -> dict[str, Any] | None:
        """A page for an account; whoever names a device or is a stranger is left to the view."""
        if given.get("device"):
            return None
        page = await desk.read(_asked(Asking(caller.did), given))
        return None if page is None else _view(given["convo_id"], *page)


def _asked(who: Asking, given: Mapping[str, Any]) -> CommitsAsked:
    return commits_asked(
        convo_id=given["convo_id"],
        who=who,
        from_epoch=given["from_epoch"],
        to_epoch=given.get("to_epoch"),
        cursor=given.get("cursor"),
    )


def _view(convo_id: str, commits: Sequence[LogEntry], cursor: str | None) -> dict[str, Any]:
    return {"convoId": convo_id, "commits": [commit_view(commit) for commit in commits], "cursor": cursor}
