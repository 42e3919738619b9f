"""Shows the whole service at work: a server of its own, four devices, real MLS; every step is checked."""

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# The path above makes the demo run from a clone in which the client is not installed.
from scenes import STEPS
from server import ServerFailed, own_server
from stage import Stage, StepFailed, play, say


async def demo(folder: Path) -> None:
    begun = time.monotonic()
    async with own_server(folder) as server:
        say(f" 0 \N{CHECK MARK} The server is ready: {server.url} ({time.monotonic() - begun:.2f} s)")
        try:
            async with AsyncExitStack() as stack:
                await play(Stage(server, folder, stack), STEPS)
        except StepFailed:
            say(server.last_words())
            raise


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="catbird-demo-") as folder:
        try:
            asyncio.run(demo(Path(folder)))
        except (ServerFailed, StepFailed) as error:
            cause = f": {type(error.__cause__).__name__}: {error.__cause__}" if error.__cause__ else ""
            say(f"demo failed at {error}{cause}")
            return 1
        except KeyboardInterrupt:
            say("demo stopped")
            return 1
    say("demo ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
