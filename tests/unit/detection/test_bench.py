"""The bench's arithmetic against sums done by hand, with workloads that only note when they were called."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from gistline.detection.bench import Cell, Spread, Stage, Turn, latency, result, spread, take_turns


def test_percentiles_interpolate_between_neighbours() -> None:
    # 1 to 101 ms: the percentile p lies exactly at 1 + p.
    found = latency([number / 1000 for number in range(101, 0, -1)])
    assert astuple(found) == pytest.approx((1, 51, 51, 91, 96, 100, 101))
    # Between 10 and 20 ms: 90 % of the way.
    two = latency([0.02, 0.01])
    assert [two.mean, two.p50, two.p90] == pytest.approx([15, 15, 19])


def test_one_call_is_all_of_its_percentiles() -> None:
    assert astuple(latency([0.004])) == pytest.approx([4.0] * 7)


def test_the_spread_is_median_and_extremes() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


def test_ratios_are_taken_within_a_round() -> None:
    # The machine slows to a half in the second round: the rates spread, the ratio does not.
    first = [Turn(100, 1.0, (0.01,)), Turn(50, 1.0, (0.02,))]
    second = [Turn(200, 1.0, (0.005,)), Turn(200, 2.0, (0.01,))]
    found = result(Cell(Stage.ENGINE, 1), second, first)
    assert found.rate == Spread(150.0, 100.0, 200.0)
    assert found.ratio == Spread(2.0, 2.0, 2.0)
    assert [found.latency.least, found.latency.most] == pytest.approx([5, 10])


def test_turns_alternate_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def work(name: str, images: list[int]) -> Turn:
        calls.append(name)
        return Turn(images.pop(0), 1.0, (1.0,))

    first, second = [1, 2, 3], [10, 20, 30]
    turns = take_turns([lambda _: work("a", first), lambda _: work("b", second)], rounds=2, turn_s=0.1)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert [[turn.images for turn in mine] for mine in turns] == [[2, 3], [20, 30]]
