"""What the processes count while they work: each into files of its own, which ``/metrics`` adds up.

Labels are words from short fixed lists, never an account, a device or a convo. Every metric has one, because
a metric without labels makes its file when it is imported, and each command anybody runs would leave one behind.
"""

from typing import Literal, get_args

from django.db import transaction
from prometheus_client import Counter, Histogram

PackageEvent = Literal["published", "handed_out", "spent", "expired"]
Retrieval = Literal["taken", "again", "not_found", "consumed", "expired", "superseded", "refused", "unusable"]

UNKNOWN_METHOD = "unknown"
CALL_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

KEY_PACKAGES = Counter("catbird_key_packages", "Key packages, by what happened to them.", ["event"])
WELCOME_RETRIEVALS = Counter("catbird_welcome_retrievals", "Attempts to fetch a Welcome, by outcome.", ["outcome"])
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
EXTERNAL_COMMIT_SECONDS = Histogram(
    "external_commit_latency_seconds",
    "Time to judge an external commit, by outcome.",
    ["outcome"],
    buckets=EXTERNAL_COMMIT_BUCKETS,
)


def count_external_commit(outcome: str, seconds: float, *, mode: str | None = None) -> None:
    """Once it is decided; ``mode`` only of one that was accepted."""
    EXTERNAL_COMMIT_REQUESTS.labels(outcome).inc()
    EXTERNAL_COMMIT_SECONDS.labels(outcome).observe(seconds)
    if mode is not None:
        EXTERNAL_COMMIT_SUCCESS.labels(mode).inc()


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


def count_call(method: str, status: int, seconds: float) -> None:
    CALLS.labels(method, str(status)).inc()
    CALL_SECONDS.labels(method).observe(seconds)


def count_unknown_method(status: int) -> None:
    """All under one label, because callers make up what they like."""
    CALLS.labels(UNKNOWN_METHOD, str(status)).inc()


def begin_at_zero() -> None:
    """Show what is known beforehand, so that a rate over the first event is not lost."""
    for event in get_args(PackageEvent):
        KEY_PACKAGES.labels(event)
    for outcome in get_args(Retrieval):
        WELCOME_RETRIEVALS.labels(outcome)
