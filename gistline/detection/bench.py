"""Several engines timed side by side: latency percentiles, throughput, and ratios within a round.

Every cell (a stage at a batch) of every engine gets turns of a fraction of a second, all of them in each round and the
order turned round every time, so that whatever else the machine does slows them alike. One warm-up round is dropped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from statistics import median
from typing import Any, Final

import numpy as np

from gistline.detection.detector import Detector
from gistline.detection.preprocess import letterbox

NOTHING: Final = 1.0
"""A score that no candidate exceeds: what is left of the stream is letterbox (a no-op here), inference, filter."""


class Stage(StrEnum):
    """What is timed: the network alone, with pre- and postprocessing, and from encoded bytes on."""

    ENGINE = "engine"
    DETECT = "detect"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Cell:
    """A stage at a batch: ``batch`` images are handed over at once and waited for; 0 streams them without a pause."""

    stage: Stage
    batch: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn did: images, seconds, and the seconds of each call (streamed: of each image, queue included)."""

    images: int
    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds a call; percentiles interpolate linearly between neighbours."""

    least: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest of the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CellResult:
    """One engine's figures in one cell: images a second, latency, and ``ratio``: its rate over the first engine's."""

    cell: Cell
    rate: Spread
    latency: Latency
    ratio: Spread


Workload = Callable[[float], Turn]
"""Works for so many seconds, then finishes what it began."""


def latency(seconds: Sequence[float]) -> Latency:
    """Figures of at least one call, in milliseconds."""
    times = 1000 * np.asarray(seconds, dtype=np.float64)
    p50, p90, p95, p99 = (float(value) for value in np.percentile(times, [50, 90, 95, 99]))
    return Latency(float(times.min()), float(times.mean()), p50, p90, p95, p99, float(times.max()))


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    return Spread(median(values), min(values), max(values))


def take_turns(workloads: Sequence[Workload], *, rounds: int, turn_s: float) -> list[list[Turn]]:
    """Each workload's turns, one a round; a round before them warms up and is dropped."""
    turns: list[list[Turn]] = [[] for _ in workloads]
    for number in range(rounds + 1):
        order = range(len(workloads)) if number % 2 else reversed(range(len(workloads)))
        for index in order:
            turn = workloads[index](turn_s)
            if number:
                turns[index].append(turn)
    return turns


def result(cell: Cell, turns: Sequence[Turn], first: Sequence[Turn]) -> CellResult:
    """Figures of one engine's turns in a cell, beside the first engine's in the same rounds."""
    return CellResult(
        cell,
        spread([turn.rate for turn in turns]),
        latency([seconds for turn in turns for seconds in turn.latencies]),
        spread([mine.rate / other.rate for mine, other in zip(turns, first, strict=True)]),
    )


def workload(detector: Detector, cell: Cell, items: Sequence[Any], decode: Callable[[Any], Any]) -> Workload:
    """What a cell does with a detector.

    Args:
        detector: warmed up.
        cell: stage and batch.
        items: at least one: encoded bytes for ``Stage.BYTES``, else uint8 ``[h, w]`` or ``[h, w, 3]`` images.
        decode: bytes to image; called within the turn, for ``Stage.BYTES`` alone.

    """
    if cell.stage is Stage.ENGINE:
        items = [letterbox(image, detector.info.input_size)[0] for image in items]
    if not cell.batch:
        return _streaming(detector, cell.stage, items, decode)
    batches = [list(islice(cycle(items), start, start + cell.batch)) for start in range(0, len(items), cell.batch)]
    if cell.stage is Stage.ENGINE:
        stacked = [np.stack(batch) for batch in batches]
        return _calls(detector.engine.infer, stacked, cell.batch)
    if cell.stage is Stage.BYTES:
        return _calls(lambda batch: detector.detect(map(decode, batch)), batches, cell.batch)
    return _calls(detector.detect, batches, cell.batch)


def _calls(call: Callable[[Any], object], batches: Sequence[Any], images: int) -> Workload:
    """One call after the other."""

    def run(seconds: float) -> Turn:
        times: list[float] = []
        begun = before = time.perf_counter()
        for batch in cycle(batches):
            call(batch)
            now = time.perf_counter()
            times.append(now - before)
            before = now
            if now - begun >= seconds:
                break
        return Turn(images * len(times), before - begun, tuple(times))

    return run


def _streaming(detector: Detector, stage: Stage, items: Sequence[Any], decode: Callable[[Any], Any]) -> Workload:
    """Images drawn as fast as the engine takes them, every stream busy."""

    def run(seconds: float) -> Turn:
        drawn: deque[float] = deque()
        begun = time.perf_counter()
        images = _until(begun + seconds, items, drawn)
        answers = _answers(detector, stage, map(decode, images) if stage is Stage.BYTES else images)
        times = [time.perf_counter() - drawn.popleft() for _ in answers]
        return Turn(len(times), time.perf_counter() - begun, tuple(times))

    return run


def _answers(detector: Detector, stage: Stage, images: Iterable[Any]) -> Iterable[object]:
    return detector.engine.stream(images, NOTHING) if stage is Stage.ENGINE else detector.detect_each(images)


def _until(deadline: float, items: Sequence[Any], drawn: deque[float]) -> Iterator[Any]:
    """Items in turn until the deadline, at least one, with the time at which each was drawn."""
    for number, item in enumerate(cycle(items)):
        now = time.perf_counter()
        if number and now >= deadline:
            return
        drawn.append(now)
        yield item
