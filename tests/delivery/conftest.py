from collections.abc import Iterator
from functools import partial

import pytest

from tests.delivery.streaming import Open, open_sse, open_websocket
from tests.live import Web, daphne, web

QUICK = {"CATBIRD_STREAM_HEARTBEAT_SECONDS": "1", "CATBIRD_STREAM_LOOK_SECONDS": "2"}


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Web]:
    with web(**QUICK) as running:
        yield running


@pytest.fixture(scope="module", params=[web, daphne], ids=["uvicorn", "daphne"])
def any_server(django_db_setup: None, request: pytest.FixtureRequest) -> Iterator[Web]:
    with request.param(**QUICK) as running:
        yield running


@pytest.fixture(params=[open_sse, open_websocket], ids=["sse", "websocket"])
def stream(server: Web, request: pytest.FixtureRequest) -> Open:
    """Opens a stream of either kind."""
    return partial(request.param, server)
