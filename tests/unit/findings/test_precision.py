"""The share of findings that operators called right, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from gistline.findings.precision import precision


def test_nothing_judged() -> None:
    assert precision(0, 0) is None


@pytest.mark.parametrize(
    ("correct", "incorrect", "low", "high"),
    [(8, 2, 0.4902, 0.9433), (10, 0, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (1, 1, 0.0945, 0.9055)],
)
def test_wilsons_interval(correct: int, incorrect: int, low: float, high: float) -> None:
    """Solved by hand from |share - p| = z sqrt(p (1 - p) / n)."""
    found = precision(correct, incorrect)
    assert found is not None
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-4)
    assert found.value == correct / (correct + incorrect)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    draws = rng.binomial(40, 0.9, size=2_000)
    held = 0
    for correct in draws:
        found = precision(int(correct), 40 - int(correct))
        assert found is not None
        held += found.low <= 0.9 <= found.high
    assert 0.93 < held / 2_000 < 0.98
