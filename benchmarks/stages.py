"""A frame's way in stages, and the wait that no system could spare it: the arithmetic of :mod:`benchmarks.latency`.

An engine looks at one frame after the other. A frame that comes while it is busy waits, however quick everything around
it is: ``ideal_waits`` says how long, for the very moments at which frames came, behind an engine that takes the same
time for each (Lindley's recursion; a frame waits for what the one before it waited and took, less the gap between
them). What a frame took beyond that wait and the engine's time is the system's own.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

CLOCKED, FREE, POISSON = "clocked", "free", "poisson"
ARRIVALS: Final = {
    CLOCKED: "one encoder triggers the cameras in turn, evenly but for 20 % jitter: no frame meets another",
    FREE: "every camera has its own steady clock with 20 % jitter: frames of different cameras meet by chance",
    POISSON: "every moment is as likely as any other, whatever came before",
}
JITTER: Final = 0.2

STAGES: Final[Sequence[tuple[str, str, str]]] = (
    ("capture -> request received", "captured", "received"),
    ("  body read, image verified", "received", "checked"),
    ("  bytes on the disk", "checked", "stored"),
    ("  row committed", "stored", "committed"),
    ("  (answer at the camera)", "committed", "accepted"),
    ("committed -> bell sent", "committed", "rung"),
    ("  bell heard by an idle worker", "rung", "bell"),
    ("  its frames claimed", "bell", "claimed"),
    ("committed -> claimed", "committed", "claimed"),
    ("  fetched and decoded", "claimed", "loaded"),
    ("  handed to the engine", "loaded", "drawn"),
    ("  engine done", "drawn", "answered"),
    ("  verdict committed", "answered", "decided"),
    ("  heard at the gate", "decided", "heard"),
    ("(results committed after answer)", "answered", "written"),
)
"""Title, the moment at which a stage begins, and the one at which it ends. Those in brackets are on nobody's way."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds of many frames."""

    p50: float
    p90: float
    p99: float
    most: float
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    """Percentiles of milliseconds; None of fewer than two values."""
    if len(values) < 2:
        return None
    cut = statistics.quantiles(values, n=100, method="inclusive")
    return Spread(cut[49], cut[89], cut[98], max(values), len(values))


def arrivals(kind: str, *, rate: float, seconds: float, cameras: int, seed: int) -> list[list[float]]:
    """Moments in seconds from now at which each camera takes a picture, ``rate`` a second of all cameras together."""
    chance = Random(seed)  # noqa: S311 - jitter
    gap = 1 / rate
    if kind == CLOCKED:
        moments = [(n + chance.uniform(0, JITTER)) * gap for n in range(int(rate * seconds))]
        return [moments[camera::cameras] for camera in range(cameras)]
    found: list[list[float]] = []
    for _ in range(cameras):
        own, at = cameras * gap, chance.random() * cameras * gap
        moments = []
        while at < seconds:
            moments.append(at)
            at += chance.expovariate(1 / own) if kind == POISSON else own * (1 + chance.uniform(-JITTER, JITTER))
        found.append(moments)
    return found


def ideal_waits(came: Sequence[float], engine_s: float) -> list[float]:
    """Seconds that each frame waits for an engine that serves them in their order, ``engine_s`` each.

    Args:
        came: seconds, in order.
        engine_s: what the engine takes for one.

    """
    waits = [0.0] if came else []
    for before, at in pairwise(came):
        waits.append(max(0.0, waits[-1] + engine_s - (at - before)))
    return waits


def stage_times(frames: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Milliseconds of every stage of :data:`STAGES`, of the frames that have both of its moments.

    A bell that was heard only after its frame had been claimed (by a worker that was busy with others) is left out.
    """
    found: dict[str, list[float]] = {}
    for title, begin, end in STAGES:
        values = []
        for moments in frames:
            if begin not in moments or end not in moments:
                continue
            if "bell" in {begin, end} and moments["bell"] > moments.get("claimed", moments["bell"]):
                continue
            values.append((moments[end] - moments[begin]) * 1000)
        found[title] = values
    return found
