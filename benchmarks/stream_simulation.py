"""Detect workers as they are, event by event: batches as one stream, each committed with the last of its frames.

A worker that a bell wakes claims what waits, loads the first image and starts the engine. While the engine has a batch,
the next one is claimed: at the batch's start, so that what comes later rides in the batch after; a claim that is not
full is filled up once, a little later. Batches that were claimed ahead follow without a gap. When nothing was ahead the
worker waits for its commit, looks once more and goes to sleep. All frames of a batch end with its commit.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

WARM_UP = 0.1
"""Share of the frames, the first ones, that do not count."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds of a worker's steps.

    ``frame_s`` is the engine's time for a frame, ``bell_s`` passes from an acceptance to a sleeping worker's waking,
    ``claim_s`` and ``commit_s`` are those transactions, ``load_s`` fetches and decodes a first image, ``fill_s`` is the
    wait of a claim that is not full (``fleet.fill_ms``). ``noise`` holds measured batch times over the mean, minus 1.
    """

    frame_s: float
    bell_s: float = 0.004
    claim_s: float = 0.002
    load_s: float = 0.004
    commit_s: float = 0.008
    fill_s: float = 0.005
    most: int = 32
    noise: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))


@dataclass(slots=True)
class _Worker:
    asleep: bool = True
    ahead: list[int] | None = None
    """Claimed beside the batch under way; None while that claim is being made."""
    waiting: bool = False
    """The engine has nothing until the claim ahead is made."""
    written_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """Seconds from acceptance to commit of all frames but the first tenth, and the mean number in a batch."""

    response_s: NDArray[np.float64]
    batch: float


def simulate_stream(stages: Stages, workers: int, arrivals: NDArray[np.float64], *, seed: int = 1) -> Simulated:
    """Serve frames that arrive at these moments (seconds, rising), oldest first."""
    return _Run(stages, workers, arrivals, np.random.default_rng(seed)).play()


class _Run:
    """One pass over the arrivals."""

    def __init__(
        self, stages: Stages, workers: int, arrivals: NDArray[np.float64], random: np.random.Generator
    ) -> None:
        self._stages = stages
        self._arrivals = arrivals
        self._random = random
        self._workers = [_Worker() for _ in range(workers)]
        self._queue: deque[int] = deque()
        self._bells = 0
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._done = np.zeros(len(arrivals))
        self._batches = 0

    def play(self) -> Simulated:
        for frame, moment in enumerate(self._arrivals):
            self._until(float(moment))
            self._queue.append(frame)
            self._bells += 1
            self._ring(float(moment))
        self._until(np.inf)
        response = self._done - self._arrivals
        return Simulated(response[int(WARM_UP * len(response)) :], len(self._arrivals) / max(self._batches, 1))

    def _until(self, moment: float) -> None:
        while self._events and self._events[0][0] <= moment:
            now, _, act = heapq.heappop(self._events)
            act(now)

    def _at(self, moment: float, act: Callable[..., None], *arguments: object) -> None:
        event: Callable[[float], None] = partial(act, *arguments)
        heapq.heappush(self._events, (moment, next(self._order), event))

    def _ring(self, now: float) -> None:
        """A bell goes to one sleeping worker; the others stay in the broker until somebody is free."""
        sleeping = next((one for one in self._workers if one.asleep), None)
        if sleeping is not None and self._bells:
            self._bells -= 1
            sleeping.asleep = False
            self._at(now + self._stages.bell_s, self._claim, sleeping)

    def _claim(self, worker: _Worker, now: float) -> None:
        batch = self._take(self._stages.most)
        if batch:
            self._at(now + self._stages.claim_s + self._stages.load_s, self._start, worker, batch)
        else:
            worker.asleep = True
            self._ring(now + self._stages.claim_s)

    def _start(self, worker: _Worker, batch: list[int], now: float) -> None:
        self._batches += 1
        worker.ahead, worker.waiting = None, False
        noise = float(self._random.choice(self._stages.noise))
        self._at(now + self._stages.frame_s * len(batch) * (1 + noise), self._end, worker, batch)
        self._at(now + self._stages.claim_s, self._claim_ahead, worker)

    def _claim_ahead(self, worker: _Worker, now: float) -> None:
        claimed = self._take(self._stages.most)
        if claimed and len(claimed) < self._stages.most:
            self._at(now + self._stages.fill_s + self._stages.claim_s, self._fill, worker, claimed)
        else:
            self._have(worker, claimed, now)

    def _fill(self, worker: _Worker, claimed: list[int], now: float) -> None:
        self._have(worker, claimed + self._take(self._stages.most - len(claimed)), now)

    def _have(self, worker: _Worker, claimed: list[int], now: float) -> None:
        worker.ahead = claimed
        if worker.waiting:
            self._follow(worker, now)

    def _end(self, worker: _Worker, batch: list[int], now: float) -> None:
        worker.written_at = max(now, worker.written_at) + self._stages.commit_s
        self._done[batch] = worker.written_at
        if worker.ahead is None:
            worker.waiting = True
        else:
            self._follow(worker, now)

    def _follow(self, worker: _Worker, now: float) -> None:
        if worker.ahead:
            self._start(worker, worker.ahead, now)
        else:
            self._at(max(now, worker.written_at), self._claim, worker)

    def _take(self, most: int) -> list[int]:
        return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
