"""What runs on this machine, as /proc tells it."""

import time
from collections.abc import Callable
from pathlib import Path

ENOUGH_SECONDS = 120.0


def wait_until(reached: Callable[[], object]) -> None:
    give_up = time.monotonic() + ENOUGH_SECONDS
    while not reached():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.05)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def working_folder(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def processes_on(data: Path) -> list[int]:
    """Those that work in the data folder, as both servers do, or were started with its name."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if working_folder(pid).startswith(str(data)) or str(data) in command_line(pid)]
