"""Token buckets: a burst, then the rate, each caller for itself."""

from __future__ import annotations

import pytest

from api import limits
from api.limits import Buckets
from gistline.errors import TooManyRequests


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: Buckets, who: str, most: int = 1_000) -> int:
    """How many requests are let through at once."""
    for count in range(most):
        try:
            buckets.take(who)
        except TooManyRequests:
            return count
    return most


def test_a_burst_then_the_rate_each_for_itself() -> None:
    clock = Clock()
    buckets = Buckets(10.0, 4.0, clock)
    assert taken(buckets, "a") == 40
    assert taken(buckets, "b") == 40
    clock.now += 0.5
    assert taken(buckets, "a") == 5
    clock.now += 3_600
    assert taken(buckets, "a") == 40


def test_a_refusal_says_when_to_come_again() -> None:
    clock = Clock()
    buckets = Buckets(0.1, 10.0, clock)
    buckets.take("a")
    with pytest.raises(TooManyRequests) as caught:
        buckets.take("a")
    assert caught.value.retry_after_s == 10
    clock.now += 10
    buckets.take("a")


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BUCKETS", 3)
    clock = Clock()
    buckets = Buckets(1.0, 4.0, clock)
    assert taken(buckets, "busy") == 4
    for number in range(10):
        clock.now += 0.2
        buckets.take(f"passing-{number}")
    assert len(buckets._left) <= 7
    assert taken(buckets, "busy") == 2
