from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from catbird_mls.xrpc.auth import DAY_SECONDS, mint_development_token
from catbird_mls.xrpc.fields import DID_PATTERN


class Command(BaseCommand):
    help = "Print a development token for an account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("did")
        parser.add_argument("--method", help="the only method it may call, by NSID")
        parser.add_argument("--seconds", type=int, default=DAY_SECONDS, help="how long it lives")

    def handle(self, *, did: str, method: str | None, seconds: int, **_: object) -> None:
        if not settings.JWT_SECRET:
            raise CommandError("There is no JWT_SECRET here, so development tokens are not accepted.")
        if not DID_PATTERN.fullmatch(did):
            raise CommandError(f"{did} is not a DID.")
        self.stdout.write(mint_development_token(did, nsid=method, lifetime_seconds=seconds))
