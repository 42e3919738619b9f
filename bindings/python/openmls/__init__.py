"""Messaging Layer Security (RFC 9420) for Python, by OpenMLS.

``openmls.delivery`` reads and follows what a delivery service may see; it holds no secret of any group.
``openmls.client`` is a member's half: groups, keys and messages.
"""

from openmls._native import ERROR_CODES, MlsError, versions

__all__ = ["ERROR_CODES", "MlsError", "versions"]
