"""How often an account may call, by device and method."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from django.conf import LazySettings
from django.test import Client

from catbird_mls.xrpc import bus, limits, strangers
from catbird_mls.xrpc.auth import Caller, authenticate, mint_development_token
from catbird_mls.xrpc.errors import AuthenticationRequired, RateLimitExceeded
from catbird_mls.xrpc.limits import LimitState, require_allowed, require_allowed_soon
from catbird_mls.xrpc.windows import Bucket, Windows
from tests.conftest import leaves_no_trace
from tests.live import PATIENCE_SECONDS, free_port, web
from tests.races.threads import at_once, failures, succeeded
from tests.xrpc.identities import NSID, Account, Hosts, plc_did

# As docs/operating.md states them.
DEFAULTS = {
    "RATE_LIMIT_SEND_MESSAGE": 100,
    "RATE_LIMIT_PUBLISH_KEY_PACKAGE": 20,
    "RATE_LIMIT_KEY_PACKAGE_ITEMS": 400,
    "RATE_LIMIT_ADD_MEMBERS": 10,
    "RATE_LIMIT_CREATE_CONVO": 5,
    "RATE_LIMIT_REPORT_MEMBER": 5,
    "RATE_LIMIT_DID_DEFAULT": 200,
    "RATE_LIMIT_IP_PER_MINUTE": 60,
}
SEND = "sendMessage"


@pytest.fixture(autouse=True)
def defaults(settings: LazySettings) -> None:
    for name, value in DEFAULTS.items():
        setattr(settings, name, value)


@pytest.fixture(params=["bus", "memory"])
def either(request: pytest.FixtureRequest, settings: LazySettings) -> str:
    """The same has to hold while the bus is down, for one process."""
    if request.param == "memory":
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
        bus.forget()
    return str(request.param)


def allowed(method: str, caller: Caller | None = None, **more: Any) -> LimitState:
    return require_allowed(caller or Caller(plc_did()), f"blue.catbird.mls.{method}", **more)


def calls_until_refused(method: str, caller: Caller, **more: Any) -> int:
    for number in range(1000):
        try:
            allowed(method, caller, **more)
        except RateLimitExceeded:
            return number
    raise AssertionError("there is no limit")


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("method", "limit"),
    [
        ("sendMessage", 100),
        ("publishKeyPackage", 20),
        ("publishKeyPackages", 20),
        ("addMembers", 10),
        ("removeMember", 10),
        ("createConvo", 5),
        ("reportMember", 5),
        ("getConvos", 200),
        ("processExternalCommit", 200),
    ],
)
def test_a_method_has_its_limit(method: str, limit: int) -> None:
    assert calls_until_refused(method, Caller(plc_did())) == limit


@pytest.mark.usefixtures("either")
def test_each_device_and_method_has_a_bucket() -> None:
    caller = Caller(plc_did())
    assert calls_until_refused("createConvo", caller, device="phone") == 5
    assert calls_until_refused("createConvo", caller, device="laptop") == 5
    assert calls_until_refused("createConvo", caller) == 5
    assert calls_until_refused("addMembers", caller, device="phone") == 10
    assert calls_until_refused("removeMember", caller, device="phone") == 10
    assert calls_until_refused("createConvo", Caller(plc_did()), device="phone") == 5


@pytest.mark.usefixtures("either")
def test_names_of_devices_that_are_made_up_end() -> None:
    caller = Caller(plc_did())
    for number in range(5 * limits.DEVICES_MAX):
        allowed("createConvo", caller, device=f"device {number}")
    with pytest.raises(RateLimitExceeded):
        allowed("createConvo", caller, device="one more")


@pytest.mark.usefixtures("either")
def test_packages_are_counted_one_by_one() -> None:
    caller = Caller(plc_did())
    for _ in range(4):
        allowed("publishKeyPackages", caller, items=95)
    with pytest.raises(RateLimitExceeded) as refused:
        allowed("publishKeyPackages", caller, items=21)
    assert 3500 < int(refused.value.headers["Retry-After"]) <= 3600
    left = allowed("publishKeyPackages", caller, items=20)
    assert left.remaining == 20 - 5, "what was refused counted for nothing"
    with pytest.raises(RateLimitExceeded):
        allowed("publishKeyPackage", caller)
    with pytest.raises(RateLimitExceeded):
        allowed("registerDevice", caller, items=1)
    allowed("registerDevice", caller, items=0)
    allowed("registerDevice", caller, items=100, device="another")


@pytest.mark.usefixtures("either")
def test_what_is_left_is_told() -> None:
    caller = Caller(plc_did())
    began = int(time.time())
    first, second = allowed("createConvo", caller), allowed("createConvo", caller)
    assert (first.limit, first.remaining, second.remaining) == (5, 4, 3)
    assert began + 50 <= second.reset <= int(time.time()) + 61
    assert second.headers == {
        "RateLimit-Limit": "5",
        "RateLimit-Remaining": "3",
        "RateLimit-Reset": str(second.reset),
        "RateLimit-Policy": "5;w=60",
    }


@pytest.mark.usefixtures("either")
def test_a_refusal_says_when_to_come_again() -> None:
    caller = Caller(plc_did())
    calls_until_refused("createConvo", caller)
    with pytest.raises(RateLimitExceeded) as refused:
        allowed("createConvo", caller)
    assert 0 < int(refused.value.headers["Retry-After"]) <= 60
    assert refused.value.headers["RateLimit-Remaining"] == "0"


@pytest.mark.usefixtures("either")
def test_many_at_once_never_exceed_the_limit() -> None:
    caller = Caller(plc_did())
    results = at_once([lambda: allowed("addMembers", caller, device="phone")] * 32)
    assert (len(succeeded(results)), failures(results)) == (10, ["RateLimitExceeded"] * 22)
    assert sorted(left.remaining for left in succeeded(results)) == list(range(10))


@pytest.mark.usefixtures("either")
def test_many_at_once_in_an_event_loop_never_exceed_the_limit() -> None:
    caller = Caller(plc_did())

    async def calls() -> list[LimitState | BaseException]:
        nsid = "blue.catbird.mls.addMembers"
        return await asyncio.gather(
            *(require_allowed_soon(caller, nsid, device="phone") for _ in range(32)), return_exceptions=True
        )

    results = asyncio.run(calls())
    assert sorted(left.remaining for left in results if isinstance(left, LimitState)) == list(range(10))
    assert sum(isinstance(result, RateLimitExceeded) for result in results) == 22
    assert calls_until_refused("addMembers", caller, device="phone") == 0


def test_a_window_ends(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MINUTE_SECONDS", 1)
    for redis_url in (settings.REDIS_URL, f"redis://127.0.0.1:{free_port()}"):
        settings.REDIS_URL = redis_url
        bus.forget()
        caller = Caller(plc_did())
        assert calls_until_refused("createConvo", caller) == 5
        deadline = time.monotonic() + PATIENCE_SECONDS
        while calls_until_refused("createConvo", caller) == 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_no_limit_is_no_question(settings: LazySettings) -> None:
    settings.RATE_LIMIT_DID_DEFAULT = 0
    settings.REDIS_URL = "redis://127.0.0.1:1"
    bus.forget()
    assert allowed("getConvos").headers == {}
    assert asyncio.run(require_allowed_soon(Caller(plc_did()), NSID)).headers == {}


def test_a_bus_that_goes_away_costs_one_wait(settings: LazySettings) -> None:
    caller = Caller(plc_did())
    allowed("sendMessage", caller)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
    bus.forget()
    assert calls_until_refused("sendMessage", caller) == 100


def test_a_flood_from_one_account_ends_and_recovering_goes_on(settings: LazySettings) -> None:
    settings.AUTH_RATE_LIMIT_PER_SECOND = 30
    settings.RATE_LIMIT_DID_DEFAULT = 0
    caller = Caller(plc_did())
    results = at_once([lambda: [allowed("getConvos", caller) for _ in range(1000)]])
    assert failures(results) == ["RateLimitExceeded"]
    assert allowed("processExternalCommit", caller) == limits.UNLIMITED
    assert allowed("getConvos") == limits.UNLIMITED


@pytest.fixture
def client() -> Client:
    return Client(headers={"Authorization": f"Bearer {mint_development_token(plc_did())}"})


@pytest.mark.django_db
def test_answers_carry_what_is_left(client: Client) -> None:
    response = client.get("/xrpc/blue.catbird.mls.getConvos")
    assert (response.status_code, response.headers["RateLimit-Remaining"]) == (200, "199")


@pytest.mark.django_db
def test_a_refused_call_is_told_by_name_and_changes_nothing(client: Client, settings: LazySettings) -> None:
    settings.RATE_LIMIT_DID_DEFAULT = 1
    path = "/xrpc/blue.catbird.mls.optIn"
    client.post(path, data={"deviceId": "phone"}, content_type="application/json")
    with leaves_no_trace():
        response = client.post(path, data={"deviceId": "phone"}, content_type="application/json")
    assert (response.status_code, response.json()["error"]) == (429, "RateLimitExceeded")
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert response.headers["RateLimit-Limit"] == "1"
    other = client.post(path, data={"deviceId": "laptop"}, content_type="application/json")
    assert other.status_code == 200


@pytest.mark.django_db
def test_packages_of_a_call_are_counted(client: Client, settings: LazySettings) -> None:
    settings.RATE_LIMIT_KEY_PACKAGE_ITEMS = 2
    path, item = "/xrpc/blue.catbird.mls.publishKeyPackages", {"keyPackage": "AA==", "cipherSuite": "x"}
    for items, status in (([item] * 3, 429), ([item] * 2, 200), ([item], 429)):
        response = client.post(path, data={"keyPackages": items}, content_type="application/json")
        assert response.status_code == status


@pytest.mark.django_db
def test_health_is_never_limited(client: Client, settings: LazySettings) -> None:
    settings.RATE_LIMIT_DID_DEFAULT = settings.RATE_LIMIT_IP_PER_MINUTE = settings.AUTH_RATE_LIMIT_PER_SECOND = 1
    for path in ("/health", "/health/live", "/health/ready", "/xrpc/_health"):
        assert {client.get(path).status_code for _ in range(5)} == {200}


@pytest.mark.django_db(transaction=True)
def test_a_limit_holds_over_all_servers() -> None:
    headers = {"Authorization": f"Bearer {mint_development_token(plc_did())}"}
    with web(RATE_LIMIT_DID_DEFAULT="7") as one, web(RATE_LIMIT_DID_DEFAULT="7") as other:

        def call(url: str) -> int:
            return httpx.get(f"{url}/xrpc/{NSID}", headers=headers, timeout=PATIENCE_SECONDS).status_code

        results = at_once([lambda url=url: call(url) for url in (one.url, other.url) * 8])
        stream = f"{one.url}/xrpc/blue.catbird.mls.streamConvoEvents?cursor=x"
        streams = [httpx.get(stream, headers=headers, timeout=PATIENCE_SECONDS) for _ in range(8)]
    assert sorted(results) == [200] * 7 + [429] * 9
    assert [answer.status_code for answer in streams] == [400] * 7 + [429]


@pytest.mark.django_db
def test_a_stranger_is_told_to_stop(client: Client) -> None:
    nobody = Client()
    answers = [nobody.get("/xrpc/blue.catbird.mls.getConvos") for _ in range(61)]
    assert [answer.status_code for answer in answers] == [401] * 60 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert client.get("/xrpc/blue.catbird.mls.getConvos").status_code == 200, "whoever shares the address comes in"


def fail(address: str, header: str | None = None) -> type[Exception]:
    with pytest.raises((AuthenticationRequired, RateLimitExceeded)) as refused:
        authenticate(header, NSID, procedure=False, address=address)
    return type(refused.value)


def test_a_stranger_has_the_network_asked_only_so_often(hosts: Hosts, settings: LazySettings) -> None:
    settings.RATE_LIMIT_IP_PER_MINUTE = 3
    outcomes = [fail("192.0.2.7", Account().bearer()).__name__ for _ in range(6)]
    assert outcomes == ["InvalidToken"] * 3 + ["RateLimitExceeded"] * 3
    assert len(hosts.directory.asked) == 3
    known = Account()
    hosts.directory.publish(known)
    assert authenticate(known.bearer(), NSID, procedure=False, address="192.0.2.8").did == known.did
    assert authenticate(known.bearer(), NSID, procedure=False, address="192.0.2.7").did == known.did


def test_a_network_is_one_stranger(settings: LazySettings) -> None:
    settings.RATE_LIMIT_IP_PER_MINUTE = 1
    assert fail("2001:db8:0:1::1") is AuthenticationRequired
    assert fail("2001:db8:0:1:ffff::2") is RateLimitExceeded
    assert fail("2001:db8:0:2::1") is AuthenticationRequired
    assert fail("a socket") is AuthenticationRequired
    assert fail("a socket") is RateLimitExceeded


@pytest.mark.usefixtures("hasty_threads")
def test_threads_lose_no_count() -> None:
    windows = Windows()

    def charge() -> int:
        return sum(windows.charge([Bucket("one", 5000, 60)]).allowed for _ in range(4000))

    assert sum(succeeded(at_once([charge] * 4))) == 5000


def test_memory_is_bounded() -> None:
    windows = Windows(keys_max=100)
    for number in range(1000):
        windows.charge([Bucket(f"key {number}", 1, 60)])
        assert len(windows._open) <= 101
    assert not windows.has_room(Bucket("key 999", 1, 60))
    assert strangers.failures is not limits.own
