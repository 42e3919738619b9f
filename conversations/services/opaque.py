"""Opaque convos: commits are ciphertext, so their effect is what the request says, narrowed by what can be known."""

from collections.abc import Sequence

from django.conf import settings

from conversations.errors import AlreadyMember, InvalidCommit, TooManyMembers
from conversations.models import Convo, Kind, Message
from conversations.selectors import Asking, open_members
from conversations.services.banning import require_none_banned
from conversations.services.bundle import CommitBundle, require_claims
from conversations.services.group_info import keep_uploaded
from conversations.services.log import ADD_MEMBERS, REMOVE_MEMBER, append_entry, handshake_id, record_epoch
from conversations.services.roster import Newcomer, admits_device, answer_readditions, bring_in, put_out
from keypackages.framing import welcome_references
from keypackages.selectors import welcomes_on_file
from keypackages.services import SpentPackage, WelcomeToSend, send_welcomes, spend_key_packages


def append_opaque_commit(
    convo: Convo, who: Asking, *, bundle: CommitBundle, dids: Sequence[str], removed_did: str | None
) -> Message:
    """Order a commit that cannot be read, and take its effect on the roster from the request."""
    first = convo.purged_epoch is None and not convo.messages.filter(kind=Kind.COMMIT).exists()
    if not first:
        _require_newcomers(convo, dids, bundle)
    message = append_entry(
        convo,
        kind=Kind.COMMIT,
        epoch=convo.epoch + 1,
        msg_id=handshake_id(bundle.commit),
        body=bundle.commit,
        sender_did=who.did,
    )
    removed = [] if removed_did is None else put_out(convo, removed_did)
    added = welcome_newcomers(convo, dids=dids, welcomes=bundle.welcomes, epoch=convo.epoch, claimed=bundle.claimed)
    nsid = ADD_MEMBERS if removed_did is None else REMOVE_MEMBER
    record_epoch(convo, by=who, nsid=nsid, added=added, removed=removed)
    keep_uploaded(convo, who, bundle.group_info)
    return message


def welcome_newcomers(
    convo: Convo,
    *,
    dids: Sequence[str],
    welcomes: Sequence[bytes],
    epoch: int,
    claimed: Sequence[bytes] = (),
) -> list[Newcomer]:
    """Places for those a Welcome was made for, by the references inside it, and for the accounts that are named.

    Welcomes already on file from the creation of the convo are left as they are.
    """
    references = [reference for body in welcomes for reference in welcome_references(body)]
    if references:
        require_claims(claimed, references)
    on_file = bool(references) and welcomes_on_file(convo_id=convo.pk, references=references)
    spent = [] if on_file else spend_key_packages(convo_id=convo.pk, references=references)
    rows = list(open_members(convo.pk))
    known = [Newcomer(package.did, package.device_id) for package in spent]
    accounts = {row.did for row in rows} | {package.did for package in spent}
    unknown = [Newcomer(did, "") for did in dict.fromkeys(dids) if did not in accounts]
    newcomers = [one for one in known if not admits_device(rows, one.did, one.device_id)] + unknown
    if len(rows) + len(newcomers) > settings.CATBIRD_MAX_MEMBERS:
        raise TooManyMembers(f"A conversation has at most {settings.CATBIRD_MAX_MEMBERS} members.")
    require_none_banned(convo, {one.did for one in newcomers})
    bring_in(convo, newcomers)
    answer_readditions(convo, [(package.did, package.device_id) for package in spent])
    if not on_file:
        named = [one.did for one in unknown]
        send_welcomes(convo_id=convo.pk, epoch=epoch, welcomes=_addressed(welcomes, spent, named), ratchet_tree=None)
    return newcomers


def _require_newcomers(convo: Convo, dids: Sequence[str], bundle: CommitBundle) -> None:
    """An account that is in already may only get further devices."""
    if bundle.welcomes:
        return
    here = set(open_members(convo.pk).values_list("did", flat=True))
    for did in dids:
        if did in here:
            raise AlreadyMember(f"{did} is a member already.")


def _addressed(welcomes: Sequence[bytes], spent: Sequence[SpentPackage], named: Sequence[str]) -> list[WelcomeToSend]:
    """Each Welcome with those it was made for; one without readable references goes to the accounts named."""
    by_reference = {package.reference: package for package in spent}
    addressed = []
    for body in welcomes:
        packages = [by_reference[reference] for reference in welcome_references(body)]
        if not packages and not named:
            raise InvalidCommit("welcome.nobody: the Welcome admits nobody.")
        addressed.append(WelcomeToSend(body=body, packages=packages, dids=() if packages else named))
    return addressed
