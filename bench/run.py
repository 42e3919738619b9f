"""Measures what docs/performance.md promises, one row or all.

    python -m bench.run [row …]

Rows that need them get a PostgreSQL and a Valkey of their own in a temporary folder. The table goes to the screen, the
figures to bench/results/.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import django
from django.core.management import call_command

from bench.rows import ROWS, Figure, Row
from catbird_mls import embedded

RESULTS = Path(__file__).parent / "results"
FOREIGN = ("DATABASE_URL", "REDIS_URL", "CATBIRD_ENV", "JWT_SECRET", "SERVICE_DID")


def prepare() -> Path:
    """Settings of a folder that is ours alone, and every row registered."""
    folder = Path(tempfile.mkdtemp(prefix="catbird-bench-"))
    # PostgreSQL does not run as root, and must be able to come to its files.
    folder.chmod(0o711)
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ["CATBIRD_DATA"] = str(folder)
    os.environ.setdefault("CATBIRD_LOG_LEVEL", "ERROR")
    os.environ["DJANGO_SETTINGS_MODULE"] = "catbird_mls.settings"
    django.setup()
    # They build their situations with models, which exist only now.
    from bench import convos, groups  # noqa: F401, PLC0415

    return folder


@contextmanager
def servers(folder: Path, *, needed: bool) -> Iterator[None]:
    """PostgreSQL, with our tables, and Valkey, if anything needs them."""
    running = embedded.start(folder) if needed else None
    try:
        if running:
            call_command("migrate", verbosity=0)
        yield
    finally:
        if running:
            running.stop()


def chosen(names: list[str]) -> list[Row]:
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise SystemExit(f"no such row: {', '.join(unknown)}; there are {', '.join(sorted(ROWS))}")
    return [ROWS[name] for name in names] or list(ROWS.values())


def show(row: Row, figures: list[Figure], seconds: float) -> None:
    print(f"\n{row.name}: {row.about}  [{seconds:.0f} s]")
    for figure in figures:
        promise = ""
        if figure.promised is not None:
            kept = "kept" if figure.value <= figure.promised else "NOT kept"
            promise = f"  at most {figure.promised:g}: {kept}"
        print(f"  {figure.what:<58}{figure.value:>12.2f} {figure.unit}{promise}")


def keep(results: dict[str, list[Figure]]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    rows = {name: [asdict(figure) for figure in figures] for name, figures in results.items()}
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return path


def measure(rows: list[Row], folder: Path) -> None:
    results: dict[str, list[Figure]] = {}
    with servers(folder, needed=any(row.needs_servers for row in rows)):
        for row in rows:
            began = time.perf_counter()
            results[row.name] = row.measure()
            show(row, results[row.name], time.perf_counter() - began)
    print(f"\nkept in {keep(results)}")


def main() -> None:
    folder = prepare()
    try:
        measure(chosen(sys.argv[1:]), folder)
    finally:
        embedded.forget(folder)


if __name__ == "__main__":
    main()
