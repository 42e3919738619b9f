"""The way back in: a device commits itself into the group, verified like any other commit."""

import hashlib
from time import perf_counter
from typing import Any

from django.conf import settings

from catbird_mls.rows import add_rows
from catbird_mls.trips import Asked, in_one_go
from catbird_mls.xrpc.errors import RateLimitExceeded, XrpcError
from catbird_mls.xrpc.fields import wire_time
from catbird_mls.xrpc.meters import count_external_commit
from conversations.conflicts import overtaken, proposals_of
from conversations.errors import InvalidCommit, Unauthorized
from conversations.framing import CommitInfo, PublicGroup, commit_epoch, verify_external_commit
from conversations.locks import convos_by_id, locked_convo
from conversations.models import (
    CONVO_ID_MAX_LENGTH,
    Convo,
    GroupState,
    Kind,
    Left,
    Member,
    Message,
    Mode,
    RejoinAttempt,
)
from conversations.rejoining import (
    EXTERNAL_COMMITS,
    bans_of,
    places_ever,
    require_attempts_left,
    require_can_rejoin,
    rollouts,
)
from conversations.selectors import Asking, open_members, places_of_accounts
from conversations.services.bundle import CommitBundle
from conversations.services.log import (
    PROCESS_EXTERNAL_COMMIT,
    answers_by_key,
    append_entry,
    commit_on_file,
    commits_by_id,
    first_answer,
    handshake_id,
    keep_answer,
    record_epoch,
    request_digest,
)
from conversations.services.proposals import propose_removals, state_of, states_of, stored_group
from conversations.services.refusals import note
from conversations.services.roster import (
    Newcomer,
    answer_readditions,
    close_place,
    open_places,
    rows_by_leaf,
)
from conversations.services.tracked import keep_state
from keypackages.selectors import devices_of_keys
from keypackages.services import questions_of_newcomers, supersede_welcomes


def process_external_commit(*, convo_id: str, who: Asking, bundle: CommitBundle, key: str | None) -> dict[str, Any]:
    """Let a device back in by its own commit; a member in the same instant. Every attempt leaves a row.

    Refusals that would tell a stranger something are all the same.
    """
    began = perf_counter()
    digest = request_digest([bundle.commit, bundle.group_info])
    limit = settings.RATE_LIMIT_EXTERNAL_COMMIT
    try:
        require_attempts_left(convo_id, who.did, way=RejoinAttempt.EXTERNAL, limit=limit)
    except RateLimitExceeded:
        # Who was let in and asks again is no attempt.
        convo = next(iter(convos_by_id(convo_id)), None)
        earlier = convo and _answered_before(convo, who, bundle, key, digest)
        if earlier:
            return earlier
        raise
    try:
        answer, mode = _come_back(convo_id, who, bundle, key, digest)
    except XrpcError as refusal:
        _note(convo_id, who, bundle, outcome=refusal.code)
        note(refusal, PROCESS_EXTERNAL_COMMIT, "external commit", convo_id=convo_id, who=who, body=bundle.commit)
        count_external_commit(refusal.code, perf_counter() - began)
        raise
    count_external_commit("accepted", perf_counter() - began, mode=mode)
    return answer


def _come_back(
    convo_id: str, who: Asking, bundle: CommitBundle, key: str | None, digest: bytes
) -> tuple[dict[str, Any], str]:
    """The answer, and the convo's mode."""
    # Nobody who may not come back makes members wait for the lock.
    require_can_rejoin(next(iter(convos_by_id(convo_id)), None), who.did)
    with locked_convo(convo_id, *_questions(convo_id, who, bundle, key)) as convo:
        require_can_rejoin(convo, who.did)
        answer = _answered_before(convo, who, bundle, key, digest)
        if answer is None:
            with in_one_go():
                answer = _answer(_append(convo, who, bundle))
                _note(convo_id, who, bundle, outcome="accepted", epoch=answer["epoch"])
                keep_answer(convo, who, nsid=PROCESS_EXTERNAL_COMMIT, key=key, digest=digest, answer=answer)
    return answer, convo.mode


def _questions(convo_id: str, who: Asking, bundle: CommitBundle, key: str | None) -> list[Asked]:
    """What every external commit asks first."""
    questions = [
        rollouts.of(EXTERNAL_COMMITS),
        bans_of.of(convo_id, [who.did]),
        places_ever.of(convo_id, who.did),
        commits_by_id.of(convo_id, handshake_id(bundle.commit)),
        states_of.of(convo_id),
        proposals_of.of(convo_id),
        *questions_of_newcomers(convo_id, [who.did], []),
    ]
    return [*questions, answers_by_key.of(convo_id, who.did, PROCESS_EXTERNAL_COMMIT, key)] if key else questions


def _answered_before(
    convo: Convo, who: Asking, bundle: CommitBundle, key: str | None, digest: bytes
) -> dict[str, Any] | None:
    """What was said to this request, or to this very commit, the first time."""
    earlier = first_answer(convo, who, nsid=PROCESS_EXTERNAL_COMMIT, key=key, digest=digest)
    message = None if earlier else commit_on_file(convo, who, bundle.commit)
    return _answer(message) if message else earlier


def _answer(message: Message) -> dict[str, Any]:
    return {"epoch": message.epoch, "rejoinedAt": wire_time(message.received_at), "seq": message.seq}


def _append(convo: Convo, who: Asking, bundle: CommitBundle) -> Message:
    """Verify, put out the device's old leaf if the commit does, and let the device in, or leave no trace."""
    made_for = commit_epoch(bundle.commit, group_id=bytes(convo.group_id))
    if made_for != convo.epoch:
        raise overtaken(convo, list(convo.members.filter(did=who.did)), commit=bundle.commit, made_for=made_for)
    state = state_of(convo)
    if state is None or state.epoch != convo.epoch:
        raise InvalidCommit("group_info.unknown: nobody has uploaded a GroupInfo of this epoch.")
    info, group = verify_external_commit(stored_group(convo, state), bundle.commit, group_info_bytes=bundle.group_info)
    newcomer = _newcomer(convo, who, info)
    leavers = _leavers(convo, info)
    _require_only_own_leaf(leavers, newcomer)
    return _write(convo, who, bundle, state, group, leavers, newcomer)


def _leavers(convo: Convo, info: CommitInfo) -> list[Member]:
    """Whose leaves the commit removes; the rows of an opaque convo know no leaves, but devices."""
    if convo.mode == Mode.TRACKED:
        rows = rows_by_leaf(convo, [leaf.leaf_index for leaf in info.removed])
        return [rows[leaf.leaf_index] for leaf in info.removed]
    devices = devices_of_keys([leaf.signature_key for leaf in info.removed]).values()
    if len(devices) != len(info.removed):
        raise InvalidCommit("commit.removes_others: only the device's own old leaf may be replaced.")
    named = {(device.did, device.device_id) for device in devices}
    return [row for row in open_members(convo.pk) if (row.did, row.device_id) in named]


def _newcomer(convo: Convo, who: Asking, info: CommitInfo) -> Newcomer:
    """The device that the new leaf stands for: registered, of the caller, and not in by another leaf."""
    device = devices_of_keys([info.committer_signature_key]).get((who.did, info.committer_signature_key))
    names_caller = (info.committer_identity or b"").partition(b"#")[0] == who.did.encode()
    if device is None or not names_caller or who.device_id not in {None, device.device_id}:
        raise Unauthorized
    was_admin = any(place.is_admin for place in places_of_accounts(convo.pk, [who.did]))
    leaf = info.committer if convo.mode == Mode.TRACKED else None
    return Newcomer(who.did, device.device_id, leaf, is_admin=was_admin)


def _require_only_own_leaf(leavers: list[Member], newcomer: Newcomer) -> None:
    """Members that are leaving may go with it; nobody else but the device's own old leaf."""
    for member in leavers:
        own = (member.did, member.device_id) == (newcomer.did, newcomer.device_id)
        if not own and member.leaving_at is None:
            raise InvalidCommit("commit.removes_others: only the device's own old leaf may be replaced.")


def _write(
    convo: Convo,
    who: Asking,
    bundle: CommitBundle,
    state: GroupState,
    group: PublicGroup,
    leavers: list[Member],
    newcomer: Newcomer,
) -> Message:
    message = append_entry(
        convo,
        kind=Kind.COMMIT,
        epoch=group.epoch,
        msg_id=handshake_id(bundle.commit),
        body=bundle.commit,
        sender_did=who.did,
    )
    for member in leavers:
        close_place(convo, member, how=Left(member.left_how or Left.LEFT))
    supersede_welcomes(convo_id=convo.pk, did=newcomer.did, device_id=newcomer.device_id, reason="came back by itself")
    open_places(convo, [newcomer])
    record_epoch(convo, by=newcomer, nsid=PROCESS_EXTERNAL_COMMIT, added=[newcomer], removed=leavers)
    answer_readditions(convo, [(newcomer.did, newcomer.device_id)])
    keep_state(state, group, bundle)
    if convo.mode == Mode.TRACKED:
        propose_removals(convo, group)
    return message


def _note(convo_id: str, who: Asking, bundle: CommitBundle, *, outcome: str, epoch: int | None = None) -> None:
    attempt = RejoinAttempt(
        way=RejoinAttempt.EXTERNAL,
        convo_id=convo_id[:CONVO_ID_MAX_LENGTH],
        did=who.did,
        device_id=who.device_id or "",
        outcome=outcome,
        epoch=epoch,
        size=len(bundle.commit),
        digest=hashlib.sha256(bundle.commit).digest(),
    )
    add_rows([attempt])
