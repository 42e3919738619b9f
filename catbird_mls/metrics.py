"""``/metrics``: what all processes have counted, and what was last worked out from the database."""

import logging
import os
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from catbird_mls.xrpc import meters
from catbird_mls.xrpc.readings import Gauge, Reading, kept_readings

logger = logging.getLogger(__name__)


class Counted(Collector):
    """The sum over all processes, the ended ones too; live gauges over those that run."""

    def collect(self) -> Iterable[Metric]:
        meters.begin_at_zero()
        _drop_gauges_of_the_dead()
        files = [str(file) for file in settings.CATBIRD_METRICS_DIR.glob("*/*.db") if _readable(file)]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # has no types
        return found


class WorkedOut(Collector):
    """The last readings and how old they are; nothing when there are none."""

    def collect(self) -> Iterable[Metric]:
        kept = kept_readings()
        if kept is None:
            return
        yield GaugeMetricFamily(
            "catbird_readings_age_seconds",
            "Time since the numbers from the database were worked out.",
            value=max(0.0, time.time() - kept.at),
        )
        yield from (_family(reading) for reading in kept.readings)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For whoever holds METRICS_TOKEN; where none is configured, everybody in development, nobody in production."""
    if not settings.ENABLE_METRICS or (settings.PRODUCTION and not settings.METRICS_TOKEN):
        return HttpResponseNotFound()
    if settings.METRICS_TOKEN and not _holds_token(request.headers.get("Authorization", "")):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry()
    registry.register(Counted())
    registry.register(WorkedOut())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _holds_token(header: str) -> bool:
    scheme, _, token = header.partition(" ")
    return scheme.lower() == "bearer" and constant_time_compare(token.strip(), settings.METRICS_TOKEN)


def _family(reading: Reading) -> Metric:
    if isinstance(reading, Gauge):
        family = GaugeMetricFamily(reading.name, reading.text, labels=[reading.label])
        for word, value in reading.values.items():
            family.add_metric([word], value)
        return family
    return GaugeHistogramMetricFamily(
        reading.name, reading.text, buckets=list(reading.buckets.items()), gsum_value=reading.total
    )


def _readable(file: Path) -> bool:
    """Whether a file is whole: one that is just being made is empty, one that outlived a power cut may be torn."""
    try:
        for _ in MmapedDict.read_all_values_from_file(file):  # type: ignore[no-untyped-call]  # has no types
            pass
    except (OSError, RuntimeError, ValueError, struct.error):
        logger.warning("metrics file left out file=%s", file)
        return False
    return True


def _drop_gauges_of_the_dead() -> None:
    """Only of this host, whose process numbers mean something here; what a process has counted stays."""
    for file in settings.METRICS_HOST_DIR.glob("gauge_live*.db"):
        process = file.stem.rpartition("_")[2]
        if not _runs(int(process)):
            mark_process_dead(process, str(settings.METRICS_HOST_DIR))  # type: ignore[no-untyped-call]  # has no types


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
