"""Two people and five devices talk through a server of their own, as `make demo` shows it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 300


def test_the_demo_ends_well() -> None:
    # The demo's server has its own data; this run's is not meant.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("CATBIRD_")}
    done = subprocess.run(
        [sys.executable, "sdk/demo/run.py"],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "demo ok"
