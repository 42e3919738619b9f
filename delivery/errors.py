from catbird_mls.xrpc.errors import XrpcError


class FutureCursor(XrpcError):
    def __init__(self) -> None:
        super().__init__("The cursor is ahead of the log.")


class OutdatedCursor(XrpcError):
    status = 410

    def __init__(self) -> None:
        super().__init__("What follows the cursor is no longer kept in full.")


class ConsumerTooSlow(XrpcError):
    def __init__(self) -> None:
        super().__init__("The stream is read too slowly; come back with the last cursor.")
