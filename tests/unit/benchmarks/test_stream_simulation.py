"""The worker's simulation against what can be worked out by hand, and exact results where it reduces to them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.queue_simulation import poisson
from benchmarks.stream_simulation import Stages, simulate_stream

BARE = Stages(0.01, bell_s=0.0, claim_s=0.0, load_s=0.0, commit_s=0.0, fill_s=0.0, most=1)
STEPS = Stages(0.010, bell_s=0.004, claim_s=0.002, load_s=0.003, commit_s=0.008, fill_s=0.005, most=32)


def test_a_frame_alone_takes_the_sum_of_its_steps() -> None:
    found = simulate_stream(STEPS, 2, np.arange(20, dtype=np.float64) * 10)
    assert found.response_s == pytest.approx(0.004 + 0.002 + 0.003 + 0.010 + 0.008)
    assert found.batch == 1.0


def test_a_frame_that_comes_just_after_a_claim_rides_in_the_batch_after_next() -> None:
    """The first wakes the worker; the second is claimed ahead; the third comes after that claim was filled up."""
    arrivals = np.array([0.0, 0.008, 0.0185])
    ends = simulate_stream(STEPS, 1, arrivals).response_s + arrivals
    starts = 0.004 + 0.002 + 0.003
    assert ends == pytest.approx([starts + 0.018, starts + 0.028, starts + 0.038])


def test_single_service_waits_as_long_as_pollaczek_and_khinchine_say() -> None:
    found = simulate_stream(BARE, 1, poisson(70, 600))
    assert found.response_s.mean() == pytest.approx(0.01 + 0.7 * 0.01 / (2 * (1 - 0.7)), rel=0.05)


def test_a_queue_that_is_there_is_served_in_full_batches_without_a_gap() -> None:
    found = simulate_stream(STEPS, 1, np.zeros(3_200))
    assert found.response_s.max() == pytest.approx(3_200 * 0.010, rel=0.02)
    assert found.batch == pytest.approx(32, rel=0.02)


def test_nothing_is_left_behind_whatever_the_load() -> None:
    for workers in (1, 3):
        found = simulate_stream(STEPS, workers, poisson(150 * workers, 20))
        assert (found.response_s > 0).all(), "above the capacity the queue drains in the end"
