from catbird_mls.xrpc.errors import XrpcError


class FutureCursor(XrpcError):
    def __init__(self) -> None:
        super().__init__("The cursor is ahead of the log.")


class OutdatedCursor(XrpcError):
    status = 410
