"""How long after it was accepted an entry is in the envelopes of its readers."""

import time
import urllib.request
from dataclasses import dataclass

import orjson
from prometheus_client.parser import text_string_to_metric_families

from bench.ledger import settle
from bench.load import Request, ask
from bench.planting import Crowd
from bench.stack import Stack, database

LONE_SENDS = 30
# More than the courier lets pass between two nudges of one convo, and no multiple of the sweep.
REST_SECONDS = 0.21
POLL_SECONDS = 0.001
METRIC = "catbird_fan_out_seconds"
CARRIED = "SELECT count(*) FROM delivery_envelope WHERE convo_id = %s AND last_seq >= %s"


@dataclass(frozen=True)
class Lags:
    """The server's own histogram: by upper bounds in seconds how many entries took at most so long."""

    counts: dict[float, float]

    def __sub__(self, earlier: "Lags") -> "Lags":
        return Lags({bound: count - earlier.counts.get(bound, 0.0) for bound, count in self.counts.items()})

    def percentile(self, share: float) -> float:
        """In milliseconds, and evenly spread between two bounds, so only their sides are exact."""
        wanted, below, floor = share * self.counts[float("inf")], 0.0, 0.0
        for bound, count in sorted(self.counts.items()):
            if count >= wanted:
                return 1000 * (floor + (bound - floor) * (wanted - below) / max(count - below, 1))
            below, floor = count, bound
        return float("inf")


def fan_out_lags(running: Stack) -> Lags:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    counts: dict[float, float] = {}
    for sample in (sample for family in families if family.name == METRIC for sample in family.samples):
        if sample.name.endswith("_bucket"):
            bound = float(sample.labels["le"])
            counts[bound] = counts.get(bound, 0.0) + sample.value
    return Lags(counts)


def lone_send_lags(running: Stack, crowd: Crowd, request: Request, *, times: int = LONE_SENDS) -> list[float]:
    """Milliseconds from the answer to a message until every member's envelope holds it, one message at a time.

    The first one makes the rows that the others extend, and is one more than was asked for.
    """
    lags = []
    with database(running.data) as held:
        for _ in range(1 + times):
            seq = orjson.loads(ask(running.port, request))["seq"]
            accepted = time.perf_counter()
            while held.execute(CARRIED, [crowd.ids[0], seq]).fetchone() != (crowd.members,):
                time.sleep(POLL_SECONDS)
            lags.append((time.perf_counter() - accepted) * 1000)
            time.sleep(REST_SECONDS)
    settle(running.data)
    return lags
