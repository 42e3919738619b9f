"""A member's half of MLS: signature keys, key packages, groups, commits and messages.

A ``Client`` is one device. It keeps everything in memory; ``Client.state()`` is the whole of it as bytes, to be stored
after every change and before anything made by it is sent. Objects may be used from any thread; calls on one client,
and on the groups of one client, run one after the other.
"""

try:
    from openmls._native import Client, CommitBundle, Group, Member, Processed, Signer
except ImportError:
    raise ImportError("openmls was built without its client half (cargo feature `client`)", name=__name__) from None

__all__ = ["Client", "CommitBundle", "Group", "Member", "Processed", "Signer"]
