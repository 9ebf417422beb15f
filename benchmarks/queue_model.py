"""How long frames wait: a formula for workers that take up to ``b`` waiting frames at once.

A worker that becomes free takes what waits, at most ``b`` frames, and is busy for ``alpha + beta * n`` with ``n`` of
them: Bailey's bulk service (1954), here with several servers, M/D^[1,b]/c. There is no closed form; this adds up

* the *balance*: workers that are busy all the time take ``n = rate / c * (alpha + beta * n)`` frames each turn, so
  ``n = rate * alpha / (c - rate * beta)``, kept within 1 and b;
* the wait for the next of ``c`` evenly busy workers, the least of c uniform remainders: ``s(n) / (c + 1)``, times the
  probability that all are busy;
* the batch that a frame is in, which is larger than the mean one: workers come free at uneven gaps (c uniform moments
  on a circle: squared variation ``v = (c - 1) / (c + 1)``), so it holds ``n + 1 + v n`` frames while all are busy;
* above that the queue of *full batches*, as single customers of Allen and Cunneen's GI/G/c (1978) in Sakasegawa's
  closed form (1977): ``(Ca2 + Cs2) / 2 * rho ** (sqrt(2 (c + 1)) - 1) / (c (1 - rho)) * s(b)``, where b Poisson
  arrivals in a row have ``Ca2 = 1 / b``;
* what surrounds the batch without holding the worker up (bell, decoding of the first frame, commit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FOLD_OF_MEAN = math.log(100.0)
"""99 % of an exponential wait is over after this many times its mean."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a worker needs: seconds for each batch and each frame of it, their noise, and seconds beside them.

    ``cs2`` is the squared coefficient of variation of a batch's time about ``alpha + beta * n``. ``around_s`` passes
    between acceptance and result beside waiting and the batch, without occupying the worker.
    """

    alpha_s: float
    beta_s: float
    cs2: float = 0.0
    around_s: float = 0.0
    most: int = 16

    def of(self, frames: float) -> float:
        """Seconds of a batch."""
        return self.alpha_s + self.beta_s * frames

    @property
    def capacity(self) -> float:
        """Frames a second of one worker with full batches."""
        return self.most / self.of(self.most)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Load as a share of the capacity, frames in a batch, mean and 99th percentile of acceptance to result."""

    load: float
    batch: float
    mean_s: float
    p99_s: float


def predict(service: Service, *, workers: int, rate: float) -> Prediction:
    """What the formula of the module says of ``rate`` frames a second.

    Raises:
        ValueError: the workers cannot do that rate.

    """
    load = rate / (workers * service.capacity)
    if not 0 < load < 1:
        raise ValueError(
            f"{rate:g} frames/s are {load:.2f} of what {workers} workers do; only loads between 0 and 1 have a wait."
        )
    batch = balanced_batch(service, workers=workers, rate=rate)
    busy = min(1.0, rate * service.of(batch) / batch / workers) ** _crowd(workers)
    uneven = (workers - 1) / (workers + 1)
    around = min(service.most, batch + busy * (1 + uneven * batch))
    queue_s = full_batch_wait(service, workers=workers, load=load)
    mean_s = service.around_s + busy * service.of(batch) / (workers + 1) + queue_s + service.of(around)
    most = min(service.most, around + 2.33 * math.sqrt(busy * (around + uneven * around**2)))
    late_s = busy * service.of(batch) * (1 - 0.01 ** (1 / workers))
    return Prediction(load, batch, mean_s, service.around_s + late_s + FOLD_OF_MEAN * queue_s + service.of(most))


def balanced_batch(service: Service, *, workers: int, rate: float) -> float:
    """Frames in a batch when workers take what came during the turn before."""
    left = workers - rate * service.beta_s
    return float(service.most) if left <= 0 else min(service.most, max(1.0, rate * service.alpha_s / left))


def full_batch_wait(service: Service, *, workers: int, load: float) -> float:
    """Seconds in the queue of full batches; grows without bound towards a load of 1."""
    spread = (1 / service.most + service.cs2) / 2
    crowded: float = load ** _crowd(workers)
    return spread * crowded / (workers * (1 - load)) * service.of(service.most)


def _crowd(workers: int) -> float:
    """Sakasegawa's exponent: the load to this power is about the probability that all workers are busy."""
    return math.sqrt(2 * (workers + 1)) - 1


def workers_needed(service: Service, *, rate: float, p99_s: float) -> int:
    """The fewest workers whose predicted 99th percentile is at most ``p99_s``.

    Raises:
        ValueError: one frame alone takes longer than that.

    """
    if service.around_s + service.of(1) > p99_s:
        raise ValueError(f"A single frame takes {service.around_s + service.of(1):.3f} s, more than {p99_s:g} s.")
    workers = math.floor(rate / service.capacity) + 1
    while predict(service, workers=workers, rate=rate).p99_s > p99_s:
        workers += 1
    return workers
