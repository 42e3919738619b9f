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
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import django
from django.core.management import call_command

from bench.rows import ROWS, Figure, Row
from catbird_mls import embedded

THREADS_MAX = 110
RESULTS = Path(__file__).parent / "results"
BALLAST_CONVOS, BALLAST_ENTRIES = 1000, 100
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
    # Callers of the services are threads of this process, a hundred at once.
    os.environ["CATBIRD_DATABASE_POOL"] = str(THREADS_MAX)
    os.environ["DJANGO_SETTINGS_MODULE"] = "catbird_mls.settings"
    django.setup()
    # They build their situations with models, which exist only now.
    from bench import adding, convos, groups, growth, reading, sending, standing, streaming  # noqa: F401, PLC0415

    return folder


@contextmanager
def servers(folder: Path, *, needed: bool) -> Iterator[None]:
    """PostgreSQL, with our tables, and Valkey, if anything needs them."""
    running = embedded.start(folder) if needed else None
    try:
        if running:
            call_command("migrate", verbosity=0)
            lay_ballast(folder)
        yield
    finally:
        if running:
            running.stop()


def lay_ballast(folder: Path) -> None:
    """Conversations of others, so that nothing is measured on empty tables and with plans made for them."""
    from bench.planting import plant  # noqa: PLC0415 - as above
    from bench.stack import database  # noqa: PLC0415 - as above

    with database(folder) as held:
        plant(held, convos=BALLAST_CONVOS, entries=BALLAST_ENTRIES)


def chosen(names: list[str]) -> list[Row]:
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise SystemExit(f"no such row: {', '.join(unknown)}; there are {', '.join(sorted(ROWS))}")
    return [ROWS[name] for name in names] or list(ROWS.values())


def show(row: Row, figures: list[Figure], seconds: float) -> None:
    print(f"\n{row.name}: {row.about}  [{seconds:.0f} s]")
    for figure in figures:
        promise = f"  {figure.promise}: {'kept' if figure.kept else 'NOT kept'}" if figure.promise else ""
        print(f"  {figure.what:<68}{figure.value:>12.2f} {figure.unit}{promise}", flush=True)


def summarize(results: dict[str, list[Figure]]) -> None:
    """Everything of which something is promised, in one table."""
    promised = [(name, figure) for name, figures in results.items() for figure in figures if figure.promise]
    print(f"\n{'row':<20}{'figure':<68}{'measured':>12}       promised")
    for name, figure in promised:
        told = f"{figure.value:>12.2f} {figure.unit:<6}{figure.promise}{'' if figure.kept else ': NOT kept'}"
        print(f"{name:<20}{figure.what:<68}{told}")
    print(f"{sum(figure.kept for _, figure in promised)} of {len(promised)} promises kept")


def keep(results: dict[str, list[Figure]], failed: dict[str, str]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    machine = {"processors": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    rows = {name: [asdict(figure) for figure in figures] for name, figures in results.items()}
    path.write_text(json.dumps({"machine": machine, "rows": rows, "failed": failed}, indent=1) + "\n")
    return path


def measure(rows: list[Row], folder: Path) -> dict[str, str]:
    """Every row, the one after a failure too; which have failed, and how."""
    results: dict[str, list[Figure]] = {}
    failed: dict[str, str] = {}
    with servers(folder, needed=any(row.needs_servers for row in rows)):
        for row in rows:
            began = time.perf_counter()
            try:
                results[row.name] = row.measure()
            except Exception as error:  # noqa: BLE001 - told at once and again at the end
                traceback.print_exc()
                failed[row.name] = f"{type(error).__name__}: {error}"
                print(f"\n{row.name}: FAILED", flush=True)
            else:
                show(row, results[row.name], time.perf_counter() - began)
    summarize(results)
    print(f"kept in {keep(results, failed)}")
    return failed


def main() -> int:
    folder = prepare()
    try:
        failed = measure(chosen(sys.argv[1:]), folder)
    finally:
        embedded.forget(folder)
    for name, cause in failed.items():
        print(f"FAILED {name}: {cause}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
