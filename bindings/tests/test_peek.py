"""peek: the outside of any message."""

from collections.abc import Callable

import craft
from openmls.client import Client
from openmls.delivery import peek
from service import GROUP_ID, three


def test_a_public_message_shows_who_sent_it() -> None:
    _, _, [_, bob, _] = three()
    info = peek(bob.commit(update=True, authenticated_data=b"label").commit)
    assert (info.wire_format, info.content_type, info.group_id, info.epoch) == ("public_message", "commit", GROUP_ID, 1)
    assert (info.sender_type, info.sender_index, info.authenticated_data) == ("member", 1, b"label")
    assert info.ciphersuite is None


def test_an_external_commit_has_no_index() -> None:
    service, _, _ = three()
    _, made = Client(b"dave").join_external(service.group_info, service.ratchet_tree)
    info = peek(made.commit)
    assert (info.sender_type, info.sender_index, info.content_type) == ("new_member_commit", None, "commit")


def test_what_is_no_message(refused: Callable[..., str]) -> None:
    assert refused(peek, b"") == "decode.truncated"
    assert refused(peek, b"\0\2\0\1") == "unsupported.version"
    assert refused(peek, b"\0\1\0\x09") == "decode.malformed"
    assert refused(peek, b"\0\1\0\1\0") == "decode.truncated"
    private = b"\0\1\0\2" + craft.vector(b"g") + craft.u64(7) + b"\1" + craft.vector(b"") * 3
    assert peek(private).epoch == 7
    assert refused(peek, private + b"!") == "decode.trailing_data"
    assert refused(peek, private.replace(b"\1g", b"\x40\1g")) == "decode.bad_length"
    assert refused(peek, private.replace(b"\1g", b"\xc1g")) == "decode.bad_length"
    wrong_content = b"\0\1\0\2" + craft.vector(b"g") + craft.u64(7) + b"\4" + craft.vector(b"") * 3
    assert refused(peek, wrong_content) == "decode.malformed"
