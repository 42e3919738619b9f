"""``catbird recover FILE``: come back into every convo that a device has lost."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from catbird.auth import DevAuth
from catbird.catchup import SyncReport
from catbird.client import Client
from catbird.errors import CatbirdError, StoreError
from catbird.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when this device is everywhere it should be, 1 when it is not, or not yet."""
    given = _parser().parse_args(arguments)
    try:
        return asyncio.run(_recover(given))
    except (CatbirdError, OSError) as error:
        sys.stderr.write(f"catbird: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="catbird", description="One device of catbird.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    recover = commands.add_parser("recover", help="come back into every convo this device has lost")
    recover.add_argument("file", type=Path, metavar="FILE", help="the file this device is kept in")
    recover.add_argument("--server", default="http://127.0.0.1:3000", help="default: %(default)s")
    recover.add_argument("--service", default="did:web:localhost", help="the server's DID: %(default)s")
    recover.add_argument(
        "--secret-file", type=Path, required=True, help="holds the secret shared with a development server"
    )
    return parser


async def _recover(given: argparse.Namespace) -> int:
    auth = DevAuth(_owner(given.file), given.secret_file.read_text().strip(), given.service)
    async with Client(given.file, given.server, auth) as client:
        report = await client.recover()
        names = {convo.id: convo.name for convo in await client.conversations()}
    return _tell(report, names)


def _owner(path: Path) -> str:
    """Whose device the file is; a file that is not there is not made."""
    if not path.is_file():
        raise StoreError(f"there is no {path}")
    store = Store(path)
    try:
        device = store.device()
    finally:
        store.close()
    if device is None:
        raise StoreError(f"{path} holds no device")
    return device.did


def _tell(report: SyncReport, names: dict[str, str]) -> int:
    lines = [f"rejoined {convo_id} {names[convo_id]}" for convo_id in report.rejoined]
    lines += [f"waiting {convo_id} {names[convo_id]}" for convo_id in report.waiting]
    lines += [f"gone {convo_id} {names[convo_id]}" for convo_id in report.gone]
    lines += [f"failed {convo_id} {names[convo_id]}: {why}" for convo_id, why in report.failed.items()]
    sys.stdout.write("".join(f"{line}\n" for line in lines or ["nothing is lost"]))
    return 1 if report.waiting or report.failed else 0
