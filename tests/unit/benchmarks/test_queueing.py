"""The queue's simulation against exact results, and the formula against the simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.queue_model import Service, balanced_batch, predict, workers_needed
from benchmarks.queue_simulation import Fleet, poisson, simulate
from benchmarks.trend import trend


def test_single_service_waits_as_long_as_pollaczek_and_khinchine_say() -> None:
    service = Service(0.0, 0.01, most=1)
    response, batch = simulate(Fleet(service, 1, ahead=False), poisson(70, 600))
    expected = 0.01 + 0.7 * 0.01 / (2 * (1 - 0.7))
    assert response.mean() == pytest.approx(expected, rel=0.05)
    assert batch == 1.0


def test_exponential_service_on_three_waits_as_long_as_erlang_says() -> None:
    rate, mean, servers = 210.0, 0.01, 3
    noise = np.random.default_rng(3).exponential(1.0, 50_000) - 1
    response, _ = simulate(Fleet(Service(0.0, mean, most=1), servers, ahead=False, noise=noise), poisson(rate, 250))
    offered = rate * mean
    tail = offered**servers / math.factorial(servers) * servers / (servers - offered)
    wait = tail / (sum(offered**k / math.factorial(k) for k in range(servers)) + tail)
    assert response.mean() == pytest.approx(mean + wait * mean / (servers - offered), rel=0.08)


def test_bulk_service_of_one_server_follows_its_embedded_chain() -> None:
    service, rate = Service(0.02, 0.002, most=8), 150.0
    _, batch = simulate(Fleet(service, 1, ahead=False), poisson(rate, 200))
    assert batch == pytest.approx(mean_batch_of_chain(service, rate), rel=0.03)


def mean_batch_of_chain(service: Service, rate: float, size: int = 200) -> float:
    """Frames in a batch from the stationary law of what waits at the end of a batch (Bailey 1954)."""
    step = np.zeros((size, size))
    taken = [min(max(waiting, 1), service.most) for waiting in range(size)]
    for waiting in range(size):
        left, mean = max(waiting - taken[waiting], 0), rate * service.of(taken[waiting])
        law = np.exp([k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(size - left)])
        step[waiting, left:] = law
        step[waiting, -1] += 1 - law.sum()
    law = np.full(size, 1 / size)
    for _ in range(600):
        law = law @ step
    return float(law @ np.array(taken))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_formula_is_near_the_simulation(workers: int, load: float) -> None:
    service = Service(0.02, 0.005, cs2=0.01, around_s=0.01)
    rate = load * workers * service.capacity
    response, _ = simulate(Fleet(service, workers, ahead=False), poisson(rate, 5_000 / rate))
    assert predict(service, workers=workers, rate=rate).mean_s == pytest.approx(response.mean(), rel=0.25)


def test_more_workers_are_needed_for_a_shorter_wait() -> None:
    service = Service(0.01, 0.01)
    assert workers_needed(service, rate=500, p99_s=0.06) > workers_needed(service, rate=500, p99_s=1.0) >= 6
    with pytest.raises(ValueError, match="single frame"):
        workers_needed(service, rate=500, p99_s=0.015)
    with pytest.raises(ValueError, match="loads between 0 and 1"):
        predict(service, workers=1, rate=500)


def test_batches_fill_up_as_the_load_grows() -> None:
    service = Service(0.02, 0.005)
    sizes = [balanced_batch(service, workers=2, rate=rate) for rate in (10, 100, 200, 300, 10_000)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (1.0, 16.0)


def test_a_trend_is_not_moved_by_an_outlier_and_its_interval_holds_the_truth() -> None:
    random = np.random.default_rng(5)
    seconds = np.arange(0, 3_600, 60.0)
    values = 100 + 2 * seconds / 3_600 + random.normal(0, 0.2, len(seconds))
    values[30] = 1_000
    found = trend(list(seconds), list(values))
    assert found.low <= 2 <= found.high
    assert found.per_hour == pytest.approx(2, abs=0.5)
    assert found.share == pytest.approx(0.02, abs=0.005)
    with pytest.raises(ValueError, match="at least three"):
        trend([0, 1], [1, 2])
