"""A token's id counts once, whoever asks, how many at once, and whether or not the bus is there."""

import asyncio
import secrets
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from django.conf import LazySettings

from catbird_mls.xrpc import bus, replay
from catbird_mls.xrpc.errors import InvalidToken
from catbird_mls.xrpc.replay import require_first_use, require_first_use_soon
from tests.devices import ALICE
from tests.live import PATIENCE_SECONDS, free_port, web
from tests.races.threads import at_once, failures, succeeded
from tests.xrpc.identities import Account, Hosts

OPT_IN = "blue.catbird.mls.optIn"


def a_jti() -> str:
    return secrets.token_hex(16)


def in_a_minute() -> float:
    return time.time() + 60


def use(jti: str, *, issuer: str = ALICE) -> None:
    require_first_use(issuer, jti, until=in_a_minute())


@pytest.fixture
def no_bus(settings: LazySettings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
    bus.forget()


@pytest.fixture
def silent_bus(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that takes connections and says nothing."""
    monkeypatch.setattr(bus, "PATIENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}"
        bus.forget()
        yield
        bus.forget()


def test_an_id_counts_once() -> None:
    jti = a_jti()
    use(jti)
    with pytest.raises(InvalidToken):
        use(jti)
    use(jti, issuer="did:plc:another")


def test_another_process_knows_it() -> None:
    jti = a_jti()
    use(jti)
    replay.forget()
    with pytest.raises(InvalidToken):
        use(jti)


def test_of_many_at_once_one_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bus alone, as between processes, and by this process alone."""
    for remembered in (0, replay.REMEMBERED_MAX):
        jti = a_jti()
        monkeypatch.setattr(replay, "REMEMBERED_MAX", remembered)
        results = at_once([lambda jti=jti: use(jti) or True] * 16)
        assert (len(succeeded(results)), failures(results)) == (1, ["InvalidToken"] * 15)


def test_of_many_at_once_in_an_event_loop_one_passes() -> None:
    jti = a_jti()

    async def uses() -> list[BaseException | None]:
        one = [require_first_use_soon(ALICE, jti, until=in_a_minute()) for _ in range(16)]
        others = [require_first_use_soon(ALICE, a_jti(), until=in_a_minute()) for _ in range(16)]
        return await asyncio.gather(*one, *others, return_exceptions=True)

    results = asyncio.run(uses())
    assert sum(isinstance(result, InvalidToken) for result in results) == 15
    assert results.count(None) == 17
    replay.forget()
    with pytest.raises(InvalidToken):
        asyncio.run(require_first_use_soon(ALICE, jti, until=in_a_minute()))


@pytest.mark.usefixtures("no_bus")
def test_without_a_bus_of_many_at_once_one_passes() -> None:
    jti = a_jti()
    results = at_once([lambda: use(jti) or True] * 16)
    assert (len(succeeded(results)), failures(results)) == (1, ["InvalidToken"] * 15)
    with pytest.raises(InvalidToken):
        asyncio.run(require_first_use_soon(ALICE, jti, until=in_a_minute()))


@pytest.mark.usefixtures("no_bus", "hasty_threads")
def test_without_a_bus_threads_let_each_id_pass_once() -> None:
    ids = [a_jti() for _ in range(3000)]

    def passes() -> int:
        return sum(_passes(jti) for jti in ids)

    assert sum(succeeded(at_once([passes] * 4))) == len(ids)


def _passes(jti: str) -> bool:
    try:
        use(jti)
    except InvalidToken:
        return False
    return True


def test_what_was_seen_while_the_bus_was_there_is_known_without_it(settings: LazySettings) -> None:
    jti = a_jti()
    use(jti)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
    bus.forget()
    with pytest.raises(InvalidToken):
        use(jti)


@pytest.mark.usefixtures("silent_bus")
def test_a_silent_bus_is_waited_for_once() -> None:
    began = time.monotonic()
    for _ in range(1000):
        use(a_jti())
    assert time.monotonic() - began < 1000 * bus.PATIENCE_SECONDS / 10


def test_a_bus_that_is_back_is_asked_again(settings: LazySettings) -> None:
    real = settings.REDIS_URL
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
    bus.forget()
    with pytest.raises(bus.BusDown):
        bus.ask("PING")
    settings.REDIS_URL = real
    bus._client = None
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            assert bus.ask("PING")
            break
        except bus.BusDown:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_bus_that_refuses_counts_as_down() -> None:
    with pytest.raises(bus.BusDown):
        bus.ask("NO-SUCH-COMMAND")
    with pytest.raises(bus.BusDown):
        asyncio.run(bus.ask_soon("PING"))


def test_an_id_is_forgotten_when_its_token_has_ended() -> None:
    jti = a_jti()
    require_first_use(ALICE, jti, until=time.time() + 0.2)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            require_first_use(ALICE, jti, until=time.time() + 0.2)
            break
        except InvalidToken:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.usefixtures("no_bus")
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "REMEMBERED_MAX", 100)
    for _ in range(50):
        require_first_use(ALICE, a_jti(), until=0)
    for _ in range(1000):
        use(a_jti())
        assert len(replay._seen) <= 101
    newest = a_jti()
    use(newest)
    for _ in range(20):
        use(a_jti())
    with pytest.raises(InvalidToken):
        use(newest)


@pytest.mark.django_db(transaction=True)
def test_one_token_at_two_servers_at_once_is_good_for_one_call(hosts: Hosts) -> None:
    account = Account()
    hosts.directory.publish(account)
    changes = {"CATBIRD_PLC_URL": hosts.directory.url}
    with web(**changes) as one, web(**changes) as other:
        for _ in range(3):
            headers = {"Authorization": account.bearer(lxm=OPT_IN)}

            def call(url: str, headers: dict[str, str] = headers) -> int:
                answer = httpx.post(f"{url}/xrpc/{OPT_IN}", json={}, headers=headers, timeout=PATIENCE_SECONDS)
                return answer.status_code

            results = at_once([lambda url=url: call(url) for url in (one.url, other.url) * 6])
            assert sorted(results) == [200] + [401] * 11
