import sys
from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from catbird_mls.xrpc import auth, bus, limits, replay, strangers
from catbird_mls.xrpc.resolving import resolver
from tests.xrpc.identities import Hosts, hosts_running


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just started, with patience for a machine that does other things too."""
    monkeypatch.setattr(bus, "PATIENCE_SECONDS", 20.0)
    auth.forget()
    replay.forget()
    limits.forget()
    strangers.failures.clear()
    resolver.forget()
    bus.forget()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns so often that what is not one step is seen not to be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def hosts(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """A directory and a web host with documents of ours, which the server is told to believe."""
    with hosts_running() as hosts:
        settings.CATBIRD_PLC_URL = hosts.directory.url
        settings.CATBIRD_ALLOW_PRIVATE_ADDRESSES = True
        hosts.web.be_trusted(monkeypatch)
        yield hosts
