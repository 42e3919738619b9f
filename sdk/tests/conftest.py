import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

# The tests run from any folder, and without the client being installed.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from cast import Cast, Stage
from stand_in import StandIn


@pytest.fixture
def cast(tmp_path: Path) -> Stage:
    @asynccontextmanager
    async def stage() -> AsyncIterator[Cast]:
        async with AsyncExitStack() as stack:
            yield Cast(tmp_path, StandIn(), stack)

    return stage
