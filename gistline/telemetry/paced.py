"""Figures that cost something to find out, asked for at a scrape but not more often than they are worth."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gistline.errors import GistlineError

log = logging.getLogger(__name__)

PATIENCE: Final = 20
"""A part that took t seconds is left alone for at least this many t, so that it costs 5 % of the time at most."""


class Reading(NamedTuple):
    """One figure: the value of one metric for one set of labels."""

    metric: str
    value: float
    labels: tuple[str, ...] = ()


class Family(NamedTuple):
    """A metric: whether it may only grow, what it says, and the names of its labels."""

    kind: Literal["gauge", "counter"]
    sentence: str
    labels: tuple[str, ...] = ()


@dataclass(slots=True)
class Part:
    """Figures that are found out together, at most every ``refresh_s`` seconds."""

    name: str
    refresh_s: float
    read: Callable[[], Sequence[Reading]]
    found: Sequence[Reading] = ()
    took_s: float = 0.0
    read_at: float = float("-inf")
    well: bool = False
    lock: Lock = field(default_factory=Lock)

    def refresh(self) -> None:
        """Find out anew if it is time; a failure leaves no figures, since old ones would look like new ones."""
        with self.lock:
            began = time.monotonic()
            if began - self.read_at < max(self.refresh_s, PATIENCE * self.took_s):
                return
            try:
                self.found, self.well = self.read(), True
            except GistlineError as error:
                self.found, self.well = (), False
                log.warning("the figures of %s cannot be had: %s", self.name, error)
            self.read_at = time.monotonic()
            self.took_s = self.read_at - began


class PacedCollector(Collector):
    """All parts as metrics, with how each of them fares."""

    def __init__(self, families: Mapping[str, Family], parts: Sequence[Part]) -> None:
        self._families = families
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        """Nothing is found out just to be registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Refresh what is due, then every metric with all of its readings."""
        for part in self._parts:
            part.refresh()
        readings = [one for part in self._parts for one in part.found]
        for name, family in self._families.items():
            yield _family(name, family, [one for one in readings if one.metric == name])
        well = GaugeMetricFamily("gistline_collection_success", "1 when the last look succeeded.", labels=["part"])
        took = GaugeMetricFamily("gistline_collection_duration_seconds", "What the last look took.", labels=["part"])
        for part in self._parts:
            well.add_metric([part.name], float(part.well))
            took.add_metric([part.name], part.took_s)
        yield from (well, took)


def paced_registry(families: Mapping[str, Family], parts: Sequence[Part]) -> CollectorRegistry:
    """A registry that holds these and nothing of the process itself."""
    registry = CollectorRegistry()
    registry.register(PacedCollector(families, parts))
    return registry


def _family(name: str, family: Family, readings: Iterable[Reading]) -> Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    made = kind(name, family.sentence, labels=family.labels)
    for reading in readings:
        made.add_metric(reading.labels, reading.value)
    return made
