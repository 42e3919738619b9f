"""What the processes count while they work: each into files of its own, which ``/metrics`` adds up.

Labels are words from short fixed lists, never an account, a device or a convo. Every metric has one, because
a metric without labels makes its file when it is imported, and each command anybody runs would leave one behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Literal, get_args

from django.db import transaction
from prometheus_client import Counter, Gauge, Histogram

PackageEvent = Literal["published", "handed_out", "spent", "expired"]
Retrieval = Literal["taken", "again", "not_found", "consumed", "expired", "superseded", "refused", "unusable"]
PushProvider = Literal["apns", "fcm"]
PushOutcome = Literal["sent", "gone", "retried", "given_up"]

UNKNOWN_METHOD = "unknown"
CALL_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

KEY_PACKAGES = Counter("catbird_key_packages", "Key packages, by what happened to them.", ["event"])
WELCOME_RETRIEVALS = Counter("catbird_welcome_retrievals", "Attempts to fetch a Welcome, by outcome.", ["outcome"])
PUSHES = Counter("catbird_push", "Pushes to providers, by outcome.", ["provider", "outcome"])
CALLS = Counter("catbird_xrpc_requests", "XRPC requests answered, by method and status.", ["method", "status"])
CALL_SECONDS = Histogram(
    "catbird_xrpc_request_duration_seconds",
    "Time to answer an XRPC request, by method.",
    ["method"],
    buckets=CALL_SECONDS_BUCKETS,
)

# Around 0.3 and 0.5 seconds, which half and all but a hundredth of them are to stay under.
EXTERNAL_COMMIT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5)
EXTERNAL_COMMIT_REQUESTS = Counter("external_commit_requests", "External commits offered, by outcome.", ["outcome"])
EXTERNAL_COMMIT_SUCCESS = Counter(
    "external_commit_success", "External commits accepted, by mode of the convo.", ["mode"]
)
EXTERNAL_COMMIT_FALLBACKS = Counter(
    "external_commit_fallbacks", "Devices that asked others to let them in anew, by method.", ["method"]
)
EXTERNAL_COMMIT_SECONDS = Histogram(
    "external_commit_latency_seconds",
    "Time to judge an external commit, by outcome.",
    ["outcome"],
    buckets=EXTERNAL_COMMIT_BUCKETS,
)


# A send waits for its turn, then for its batch; ``mode`` is batched or single.
SENDS_IN_FLIGHT = Gauge(
    "actor_in_flight", "Messages waiting for their places, by mode.", ["mode"], multiprocess_mode="livesum"
)
SENDS_REFUSED = Counter("actor_refusals", "Messages refused because too many were waiting, by mode.", ["mode"])
BATCH_SIZE = Histogram(
    "actor_batch_size", "Messages written by one statement, by mode.", ["mode"], buckets=(1, 2, 4, 8, 16, 32, 64)
)
BATCH_WAIT_SECONDS = Histogram(
    "actor_wait_seconds", "Time a message waited for its batch, by mode.", ["mode"], buckets=CALL_SECONDS_BUCKETS
)
BATCH_HOLD_SECONDS = Histogram(
    "actor_hold_seconds", "Time to write a batch, by mode.", ["mode"], buckets=CALL_SECONDS_BUCKETS
)


@contextmanager
def sends_in_flight(mode: str) -> Iterator[None]:
    """One message is on its way inside."""
    gauge = SENDS_IN_FLIGHT.labels(mode)
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()


def count_refused_send(mode: str) -> None:
    SENDS_REFUSED.labels(mode).inc()


def count_batch(mode: str, size: int, *, hold: float, waits: Sequence[float]) -> None:
    """Once it is written; ``waits`` are those of its messages, in seconds."""
    BATCH_SIZE.labels(mode).observe(size)
    BATCH_HOLD_SECONDS.labels(mode).observe(hold)
    for wait in waits:
        BATCH_WAIT_SECONDS.labels(mode).observe(wait)


StreamKind = Literal["sse", "websocket"]
StreamEvent = Literal[
    "messageEvent",
    "infoEvent",
    "newDeviceEvent",
    "readditionRequestedEvent",
    "groupInfoRefreshRequestedEvent",
    "membershipChangeEvent",
    "readEvent",
]
Bus = Literal["up", "down"]
Carrier = Literal["nudge", "sweep"]

STREAMS = Gauge("catbird_stream_connections", "Open streams, by kind.", ["kind"], multiprocess_mode="livesum")
STREAM_EVENTS = Counter("catbird_stream_events", "Events that streams have sent, by kind.", ["kind"])
BELL_LOSSES = Counter(
    "catbird_bell_losses_repaired", "Entries a stream found by looking that no bell had rung for.", ["bus"]
)
FAN_OUT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FAN_OUT_SECONDS = Histogram(
    "catbird_fan_out_seconds",
    "Time from accepting an entry to the envelopes of its readers, by what set it off.",
    ["by"],
    buckets=FAN_OUT_BUCKETS,
)


def count_external_commit(outcome: str, seconds: float, *, mode: str | None = None) -> None:
    """Once it is decided; ``mode`` only of one that was accepted."""
    EXTERNAL_COMMIT_REQUESTS.labels(outcome).inc()
    EXTERNAL_COMMIT_SECONDS.labels(outcome).observe(seconds)
    if mode is not None:
        EXTERNAL_COMMIT_SUCCESS.labels(mode).inc()


def count_fallback(method: Literal["readdition", "rejoin"]) -> None:
    """Somebody who did not come in by an external commit asks the other way, once that is on file."""
    transaction.on_commit(lambda: EXTERNAL_COMMIT_FALLBACKS.labels(method).inc(), robust=True)


def count_key_packages(event: PackageEvent, number: int) -> None:
    """Count once the transaction under way has committed, at once when there is none."""
    # Robust, because what has happened may not fail for want of being counted.
    transaction.on_commit(lambda: KEY_PACKAGES.labels(event).inc(number), robust=True)


def count_retrieval(outcome: Retrieval) -> None:
    """The same for a Welcome that is given away."""
    transaction.on_commit(lambda: WELCOME_RETRIEVALS.labels(outcome).inc(), robust=True)


def count_failed_retrieval(outcome: Retrieval) -> None:
    """Count at once: a refusal ends its transaction, and nothing of it will ever commit."""
    WELCOME_RETRIEVALS.labels(outcome).inc()


def count_push(provider: PushProvider, outcome: PushOutcome) -> None:
    """Count at once: what has been sent stays sent, whatever becomes of its row."""
    PUSHES.labels(provider, outcome).inc()


def count_call(method: str, status: int, seconds: float) -> None:
    CALLS.labels(method, str(status)).inc()
    CALL_SECONDS.labels(method).observe(seconds)


def count_unknown_method(status: int) -> None:
    """All under one label, because callers make up what they like."""
    CALLS.labels(UNKNOWN_METHOD, str(status)).inc()


def begin_at_zero() -> None:
    """Show what is known beforehand, so that a rate over the first event is not lost."""
    known = (
        (KEY_PACKAGES, PackageEvent),
        (WELCOME_RETRIEVALS, Retrieval),
        (STREAM_EVENTS, StreamEvent),
        (BELL_LOSSES, Bus),
        (FAN_OUT_SECONDS, Carrier),
    )
    for metric, words in known:
        for word in get_args(words):
            metric.labels(word)
    for provider, outcome in product(get_args(PushProvider), get_args(PushOutcome)):
        PUSHES.labels(provider, outcome)
