"""Staff look here; nothing of the log can be changed, and no ciphertext, key or token is shown."""

from conversations.admin import banning, convos, recovery

__all__ = ["banning", "convos", "recovery"]
