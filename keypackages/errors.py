from catbird_mls.xrpc.errors import XrpcError


class DeviceNotFound(XrpcError):
    status = 404


class InvalidDeviceName(XrpcError):
    pass


class InvalidSignatureKey(XrpcError):
    pass


class DeviceAlreadyRegistered(XrpcError):
    status = 409


class TooManyDevices(XrpcError):
    pass


class InvalidKeyPackage(XrpcError):
    """The message starts with the stable code of the rule that was broken."""


class InvalidKeyPackages(InvalidKeyPackage):
    """The same, for the packages of a registration."""


class InvalidCipherSuite(XrpcError):
    pass


class ExpirationTooFar(XrpcError):
    pass


class TooManyKeyPackages(XrpcError):
    pass


class BatchTooLarge(XrpcError):
    pass


class InvalidBatch(XrpcError):
    pass


class InvalidDid(XrpcError):
    pass


class TooManyHashes(XrpcError):
    pass


class TooManyDids(XrpcError):
    pass


class KeyPackageNotFound(XrpcError):
    """Clients read ``did:…`` and ``hash=…`` out of the message to know which package to skip."""

    status = 409

    def __init__(self, *, did: str, reference: bytes | None = None) -> None:
        which = f" with hash={reference.hex()}" if reference is not None else ""
        super().__init__(f"No unspent key package of {did}{which}")


class InvalidWelcome(XrpcError):
    pass


class RecipientMismatch(XrpcError):
    status = 403


class KeyPackageAlreadyConsumed(XrpcError):
    status = 410


class WelcomeNotFound(XrpcError):
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no Welcome for you in this conversation.")


class WelcomeConsumed(XrpcError):
    status = 410

    def __init__(self) -> None:
        super().__init__("The Welcome has been used or is no longer valid.")
