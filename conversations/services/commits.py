"""Every way a commit gets into a log: one transaction, one winner an epoch."""

from collections.abc import Sequence
from typing import Any

from catbird_mls.trips import Asked
from catbird_mls.xrpc.errors import NotMember
from conversations.conflicts import overtaken, proposals_of
from conversations.errors import CannotRemoveSelf, InvalidCommit
from conversations.framing import commit_epoch
from conversations.locks import locked_convo
from conversations.models import Convo, Member, Message, Mode
from conversations.selectors import Asking, open_members, places_of_accounts, require_admin, require_member
from conversations.services.banning import keep_ban
from conversations.services.bundle import CommitBundle
from conversations.services.log import (
    ADD_MEMBERS,
    REMOVE_MEMBER,
    answers_by_key,
    commit_on_file,
    commits_by_id,
    first_answer,
    handshake_id,
    keep_answer,
    request_digest,
)
from conversations.services.opaque import append_opaque_commit
from conversations.services.proposals import propose_removals, states_of
from conversations.services.refusals import journaled_bundle
from conversations.services.roster import put_out, settle_roles
from conversations.services.tracked import append_tracked_commit


def add_members(
    *, convo_id: str, who: Asking, dids: Sequence[str], bundle: CommitBundle | None, key: str | None
) -> dict[str, Any]:
    """Put a commit into the log, with everything it brings: members, Welcomes, spent packages, GroupInfo.

    Of any number of commits for one epoch one wins; the others are told the current epoch and change nothing.
    Repeating the request, or the same commit, gets the first answer. Without DIDs any commit is welcome.
    """
    if bundle is None:
        raise InvalidCommit("commit.missing: a change of the group needs a commit.")
    digest = _digest(bundle, *dids)
    ahead = _questions(convo_id, who, bundle, nsid=ADD_MEMBERS, key=key)
    with (
        journaled_bundle(ADD_MEMBERS, convo_id=convo_id, who=who, bundle=bundle),
        locked_convo(convo_id, *ahead) as convo,
    ):
        places = require_member(convo_id, who)
        earlier = first_answer(convo, who, nsid=ADD_MEMBERS, key=key, digest=digest)
        if earlier is not None:
            return earlier
        message = _append_once(convo, who, places, bundle=bundle, dids=dids, removed_did=None)
        answer = {"success": True, "newEpoch": message.epoch, "seq": message.seq}
        keep_answer(convo, who, nsid=ADD_MEMBERS, key=key, digest=digest, answer=answer)
    return answer


def remove_member(
    *, convo_id: str, who: Asking, target_did: str, bundle: CommitBundle | None, key: str, ban: str | None = None
) -> dict[str, Any]:
    """Take an account out of a convo, by a commit that removes its leaves; needs the admin role.

    Without a commit its access ends all the same where the server can propose the removal, and in an opaque
    convo, whose roster may be corrected for a member whose leaf is already gone. ``ban`` keeps the account out
    for good, and is the reason.
    """
    digest = _digest(bundle, target_did, *([] if ban is None else ["ban"]))
    ahead = _questions(convo_id, who, bundle, nsid=REMOVE_MEMBER, key=key)
    with (
        journaled_bundle(REMOVE_MEMBER, convo_id=convo_id, who=who, bundle=bundle),
        locked_convo(convo_id, *ahead) as convo,
    ):
        places = require_member(convo_id, who)
        earlier = first_answer(convo, who, nsid=REMOVE_MEMBER, key=key, digest=digest)
        if earlier is not None:
            return earlier
        _require_removable(convo, who, places, target_did, bundle)
        seq = _remove(convo, who, places, target_did, bundle)
        if ban is not None:
            keep_ban(convo, target_did, by=who.did, reason=ban)
        settle_roles(convo)
        answer = {"ok": True, "epochHint": convo.epoch, "newEpoch": convo.epoch, "seq": seq}
        keep_answer(convo, who, nsid=REMOVE_MEMBER, key=key, digest=digest, answer=answer)
    return answer


def _remove(convo: Convo, who: Asking, places: Sequence[Member], target_did: str, bundle: CommitBundle | None) -> int:
    if bundle is not None:
        return _append_once(convo, who, places, bundle=bundle, dids=(), removed_did=target_did).seq
    put_out(convo, target_did)
    if convo.mode == Mode.TRACKED and not propose_removals(convo):
        raise InvalidCommit("commit.missing: a member is removed by a commit, or the group has to list this server.")
    return convo.last_seq


def _require_removable(
    convo: Convo, who: Asking, places: Sequence[Member], target_did: str, bundle: CommitBundle | None
) -> None:
    require_admin(places)
    if target_did == who.did:
        raise CannotRemoveSelf("Leave the conversation with leaveConvo.")
    # A repeated commit has removed its target already.
    if not open_members(convo.pk).filter(did=target_did).exists() and not (
        bundle and commit_on_file(convo, who, bundle.commit)
    ):
        raise NotMember


def _questions(convo_id: str, who: Asking, bundle: CommitBundle | None, *, nsid: str, key: str | None) -> list[Asked]:
    """What every commit asks first."""
    questions = [places_of_accounts.of(convo_id, [who.did])]
    if key:
        questions.append(answers_by_key.of(convo_id, who.did, nsid, key))
    if bundle is not None:
        questions.append(commits_by_id.of(convo_id, handshake_id(bundle.commit)))
        questions += [states_of.of(convo_id), proposals_of.of(convo_id)]
    return questions


def _append_once(
    convo: Convo,
    who: Asking,
    places: Sequence[Member],
    *,
    bundle: CommitBundle,
    dids: Sequence[str],
    removed_did: str | None,
) -> Message:
    if earlier := commit_on_file(convo, who, bundle.commit):
        return earlier
    made_for = commit_epoch(bundle.commit, group_id=bytes(convo.group_id))
    if made_for != convo.epoch:
        raise overtaken(convo, places, commit=bundle.commit, made_for=made_for)
    if convo.mode == Mode.TRACKED:
        return append_tracked_commit(convo, places, bundle=bundle, dids=dids, removed_did=removed_did)
    return append_opaque_commit(convo, who, bundle=bundle, dids=dids, removed_did=removed_did)


def _digest(bundle: CommitBundle | None, *names: str) -> bytes:
    if bundle is None:
        return request_digest(names)
    return request_digest([bundle.commit, *bundle.welcomes, bundle.group_info, *sorted(names)])
