"""Open streams: what one costs, and how soon an entry is read on it."""

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings

from bench.asking import NAMESPACE, headers, send
from bench.comparing import named
from bench.ledger import require_sound
from bench.listening import Heard, Listening, listen
from bench.planting import Crowd, ciphertext, plant
from bench.rows import Figure, percentile, row
from bench.stack import Stack, cpu_seconds, database, memory_mb, stack

# Convos, the streams on each of them, and the messages a second into all; what is promised is promised of the first.
CROWDS = ((100, 10, 20.0), (1, 200, 2.0))
LIVE_SECONDS, IDLE_SECONDS = 10.0, 5.0
KIB_A_MB = 1_000_000 / 1024
LIVE_P99_MS, STREAM_KIB, THREADS_AT_MOST = 100.0, 32.0, 32
# The handshake of RFC 6455, with the key of its example.
WEBSOCKET_KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
WEBSOCKET = f"Connection: Upgrade\r\nUpgrade: websocket\r\n{WEBSOCKET_KEY}"


def stream_request(crowd: Crowd, convo: int, member: int) -> bytes:
    """Every second member has a WebSocket, the others server-sent events; all are up to date."""
    kind, extra = ("subscribeConvoEvents", WEBSOCKET) if member % 2 else ("streamConvoEvents", "")
    did = crowd.did(convo, member)
    given = urlencode({"convoId": crowd.ids[convo], "cursor": "1"})
    return f"GET {NAMESPACE}{kind}?{given} HTTP/1.1\r\n{headers(did)}{extra}\r\n".encode()


@dataclass(frozen=True)
class Standing:
    """What open streams cost while nothing happens: memory of one, threads and share of a processor of all."""

    kib: float
    threads: int
    busy: float


def live(running: Stack, crowd: Crowd, *, rate: float) -> tuple[Heard, Standing]:
    """What every member's stream heard, and what the streams cost the one web process before."""
    (web,) = running.pids("uvicorn")
    streams = [
        stream_request(crowd, convo, member) for convo in range(len(crowd.ids)) for member in range(crowd.members)
    ]
    sends = [send(crowd.did(number), one, ciphertext(one, size=512)) for number, one in enumerate(crowd.ids)]
    plan = Listening(running.port, streams, sends, crowd.members, rate, LIVE_SECONDS)
    memory, threads, standing = memory_mb([web]), threads_of(web), []

    def look() -> None:
        spent = cpu_seconds([web])
        time.sleep(IDLE_SECONDS)
        kib = KIB_A_MB * (memory_mb([web]) - memory) / len(streams)
        standing.append(Standing(kib, threads_of(web) - threads, (cpu_seconds([web]) - spent) / IDLE_SECONDS))

    heard = listen(plan, when_open=look)
    require_sound(running.data, crowd.ids, entries=len(crowd.ids) + len(heard.last))
    return heard, standing[0]


def threads_of(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


@row("live-1000")
def live_1000() -> list[Figure]:
    """1000 streams on one web process, every second one a WebSocket, on 100 convos; then 200 on one convo"""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures: list[Figure] = []
    for convos, readers, rate in CROWDS:
        with stack(CATBIRD_WEB_PROCESSES=1) as running, database(running.data) as held:
            # Whatever the first request of a kind loads is not the streams'.
            live_once(running)
            heard, cost = live(running, plant(held, convos=convos, members=readers), rate=rate)
        found = [*lags(heard, promised=not figures), *standing_figures(cost, promised=not figures)]
        figures += named(f"{convos * readers} on {convos} convos", found)
    return figures


def live_once(running: Stack) -> None:
    with database(settings.CATBIRD_DATA) as held:
        crowd = plant(held, members=4)
    streams = [stream_request(crowd, 0, member) for member in range(crowd.members)]
    request = send(crowd.did(), crowd.ids[0], ciphertext(crowd.ids[0], size=512))
    plan = Listening(running.port, streams, [request], crowd.members, 10.0, 1.0)
    listen(plan, when_open=lambda: None)


def lags(heard: Heard, *, promised: bool) -> list[Figure]:
    return [
        Figure("accepted to read, median", percentile(heard.delays, 0.5), "ms"),
        Figure(
            "accepted to read, p99", percentile(heard.delays, 0.99), "ms", at_most=LIVE_P99_MS if promised else None
        ),
        Figure("opened, one after the other", heard.streams / heard.opening_seconds, "/s"),
        Figure("accepted to read by the last of its readers, median", percentile(heard.last, 0.5), "ms"),
    ]


def standing_figures(cost: Standing, *, promised: bool) -> list[Figure]:
    kib, threads = (STREAM_KIB, THREADS_AT_MOST) if promised else (None, None)
    return [
        Figure("memory of a stream", cost.kib, "KiB", at_most=kib),
        Figure("threads more than before", cost.threads, "", at_most=threads),
        Figure("processors busy while nothing happens", cost.busy, ""),
    ]
