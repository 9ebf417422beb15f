"""What a process counts while it works, for Prometheus. Labels have few values, all known beforehand.

What the database knows (rows that wait, money, workers) is told by one exporter alone (:mod:`telemetry.fleet`), so that
several processes do not count it several times.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

REGISTRY: Final = CollectorRegistry()
"""Everything that this process counts."""

MILLISECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
WAITS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
LONG: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
SHARES: Final = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)

ProcessCollector(registry=REGISTRY)
_BUILD = Gauge("gistline_build_info", "Version of this process; always 1.", ["version"], registry=REGISTRY)
_BUILD.labels(version("gistline")).set(1)

HTTP_REQUESTS: Final = Counter(
    "gistline_http_requests_total", "Requests answered.", ["method", "route", "status"], registry=REGISTRY
)
HTTP_SECONDS: Final = Histogram(
    "gistline_http_request_duration_seconds",
    "From the request's head to the end of its answer.",
    ["route"],
    buckets=MILLISECONDS,
    registry=REGISTRY,
)
HTTP_ARRIVING: Final = Gauge("gistline_http_requests_in_progress", "Requests being answered.", registry=REGISTRY)

FRAME_QUEUE: Final = Histogram(
    "gistline_frame_queue_seconds",
    "A frame's wait from its acceptance to its claim, by this machine's clock.",
    buckets=WAITS,
    registry=REGISTRY,
)
FRAME_LATENCY: Final = Histogram(
    "gistline_frame_latency_seconds",
    "From a frame's acceptance to its committed verdict, by this machine's clock.",
    buckets=WAITS,
    registry=REGISTRY,
)
STAGES: Final = ("fetch", "decode", "infer", "post", "commit")
STAGE_SECONDS: Final = Histogram(
    "gistline_batch_stage_seconds",
    "Time of one batch in a stage; fetch and decode are summed over threads, stages of neighbouring batches overlap.",
    ["stage"],
    buckets=MILLISECONDS,
    registry=REGISTRY,
)
_OF_STAGE: Final = {stage: STAGE_SECONDS.labels(stage) for stage in STAGES}
BATCH_FILL: Final = Histogram(
    "gistline_batch_fill_ratio", "Frames of a batch, as a share of fleet.batch_size.", buckets=SHARES, registry=REGISTRY
)
ENGINE_SECONDS: Final = Counter(
    "gistline_engine_busy_seconds_total", "Time that the engine's thread waited for answers.", registry=REGISTRY
)
FRAMES_FINISHED: Final = Counter(
    "gistline_frames_finished_total", "Frames whose end this process wrote.", ["state", "verdict"], registry=REGISTRY
)

SWEPT: Final = Counter("gistline_sweeps_total", "Rounds of the sweep that this process did.", registry=REGISTRY)
SWEPT_AT: Final = Gauge(
    "gistline_sweep_last_run_timestamp_seconds", "When this process last swept; 0 is never.", registry=REGISTRY
)
LEASES_EXPIRED: Final = Counter(
    "gistline_leases_expired_total", "Frames whose worker died or was too slow.", ["outcome"], registry=REGISTRY
)
DEADLINES_MISSED: Final = Counter(
    "gistline_deadlines_missed_total", "Frames that expired before anybody looked at them.", registry=REGISTRY
)
BELLS_RERUNG: Final = Counter(
    "gistline_bells_rerung_total", "Frames rung for again, since nobody came for the first bell.", registry=REGISTRY
)

REPORT_SECONDS: Final = Histogram(
    "gistline_report_duration_seconds",
    "From a window's claim to its report, or to its next attempt.",
    ["outcome"],
    buckets=LONG,
    registry=REGISTRY,
)
TASK_FAILURES: Final = Counter(
    "gistline_task_failures_total", "Tasks and duties that raised, by what became of them.", ["fate"], registry=REGISTRY
)


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """One committed batch: its size, the seconds of each stage, and when its frames were accepted.

    ``claimed`` is a time of the monotonic clock. ``capacity`` is the most frames that a batch may have.
    """

    accepted_at: Sequence[datetime]
    claimed: float
    capacity: int
    seconds: dict[str, float]


def count_batch(batch: BatchTimes) -> None:
    """Book a batch that was committed just now."""
    now, claimed_ago = time.time(), time.monotonic() - batch.claimed
    for accepted in batch.accepted_at:
        latency = max(0.0, now - accepted.timestamp())
        FRAME_LATENCY.observe(latency)
        FRAME_QUEUE.observe(max(0.0, latency - claimed_ago))
    for stage, histogram in _OF_STAGE.items():
        histogram.observe(batch.seconds[stage])
    BATCH_FILL.observe(len(batch.accepted_at) / batch.capacity)
    ENGINE_SECONDS.inc(batch.seconds["infer"])


def count_ends(ends: Iterable[tuple[str, str]]) -> None:
    """Book frames that ended, each by state and verdict."""
    for (state, verdict), count in collections.Counter(ends).items():
        FRAMES_FINISHED.labels(state, verdict).inc(count)


def count_sweep(*, returned: int, failed: int, expired: int, rung: int) -> None:
    """Book a round of the sweep that this process did."""
    SWEPT.inc()
    SWEPT_AT.set_to_current_time()
    LEASES_EXPIRED.labels("returned").inc(returned)
    LEASES_EXPIRED.labels("failed").inc(failed)
    DEADLINES_MISSED.inc(expired)
    BELLS_RERUNG.inc(rung)


class Bells(Collector):
    """What became of the messages of this process's senders, whose own counts are asked for at each scrape."""

    def __init__(self) -> None:
        self._senders: list[Callable[[], tuple[int, int, int]]] = []
        self._lock = Lock()

    def follow(self, count: Callable[[], tuple[int, int, int]]) -> None:
        """Ask this sender from now on: messages sent, failed, and not sent because enough waited."""
        with self._lock:
            self._senders.append(count)

    def collect(self) -> Iterable[Metric]:
        """One family with three outcomes."""
        family = CounterMetricFamily(
            "gistline_bells", "Messages to the workers: sent, refused by Redis, surplus.", labels=["outcome"]
        )
        with self._lock:
            counts = [count() for count in self._senders]
        for place, outcome in enumerate(("sent", "failed", "surplus")):
            family.add_metric([outcome], sum(count[place] for count in counts))
        yield family


BELLS: Final = Bells()
REGISTRY.register(BELLS)


def known_labels() -> None:
    """Begin the counters that alerts look at with 0, so that a first event is an increase and not a birth."""
    for outcome in ("returned", "failed"):
        LEASES_EXPIRED.labels(outcome)
    for verdict in ("ok", "ng", "reinspect"):
        FRAMES_FINISHED.labels("inspected", verdict)
    FRAMES_FINISHED.labels("failed", "reinspect")
    for outcome in ("written", "pending", "failed"):
        REPORT_SECONDS.labels(outcome)
    for fate in ("wait", "ring", "leave", "drop"):
        TASK_FAILURES.labels(fate)


known_labels()
