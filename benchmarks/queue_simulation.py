"""The same queue event by event, with measured batch times in place of a formula."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.queue_model import Service

WARM_UP = 0.1
"""Share of the frames, the first ones, that do not count."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """``workers`` alike. One that looks ``ahead`` claims its next batch while it is busy with the one before."""

    service: Service
    workers: int
    ahead: bool = True
    noise: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    """Measured batch times over ``alpha + beta * n``, minus 1; one is drawn for each batch."""


@dataclass(slots=True)
class _Worker:
    free_at: float = 0.0
    busy: bool = False
    claimed: list[int] = field(default_factory=list)


def simulate(fleet: Fleet, arrivals: NDArray[np.float64], *, seed: int = 1) -> tuple[NDArray[np.float64], float]:
    """Serve frames that arrive at these moments (seconds, rising), oldest first.

    Returns:
        Seconds from arrival to result of all but the first tenth, and the mean number of frames in a batch.

    """
    return _Run(fleet, arrivals, np.random.default_rng(seed)).play()


class _Run:
    """One pass over the arrivals."""

    def __init__(self, fleet: Fleet, arrivals: NDArray[np.float64], random: np.random.Generator) -> None:
        self._fleet = fleet
        self._arrivals = arrivals
        self._random = random
        self._workers = [_Worker() for _ in range(fleet.workers)]
        self._queue: deque[int] = deque()
        self._ends: list[tuple[float, int]] = []
        self._done = np.zeros(len(arrivals))
        self._batches = 0

    def play(self) -> tuple[NDArray[np.float64], float]:
        for frame, moment in enumerate(self._arrivals):
            self._end_until(float(moment))
            self._queue.append(frame)
            # One after the other, as bells find them: the idle one takes it, a busy one that looks ahead may.
            idle = next((one for one in range(len(self._workers)) if not self._workers[one].busy), None)
            if idle is not None:
                self._begin(idle, float(moment))
        self._end_until(np.inf)
        response = self._done - self._arrivals + self._fleet.service.around_s
        return response[int(WARM_UP * len(response)) :], len(self._arrivals) / max(self._batches, 1)

    def _end_until(self, moment: float) -> None:
        while self._ends and self._ends[0][0] <= moment:
            ended, number = heapq.heappop(self._ends)
            self._workers[number].busy = False
            if self._workers[number].claimed or self._queue:
                self._begin(number, ended)

    def _begin(self, number: int, now: float) -> None:
        worker = self._workers[number]
        batch = worker.claimed or self._take()
        worker.claimed = []
        noise = float(self._random.choice(self._fleet.noise))
        ends = now + self._fleet.service.of(len(batch)) * (1 + noise)
        self._done[batch] = ends
        self._batches += 1
        worker.busy = True
        heapq.heappush(self._ends, (ends, number))
        if self._fleet.ahead:
            worker.claimed = self._take()

    def _take(self) -> list[int]:
        return [self._queue.popleft() for _ in range(min(self._fleet.service.most, len(self._queue)))]


def poisson(rate: float, seconds: float, *, seed: int = 1) -> NDArray[np.float64]:
    """Moments of Poisson arrivals."""
    random = np.random.default_rng(seed)
    moments = np.cumsum(random.exponential(1 / rate, int(rate * seconds * 1.2) + 50))
    return moments[moments < seconds]
