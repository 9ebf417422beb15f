"""Drift indices: what chance gives is no drift, what a lamp does is, and what does not matter is not."""

from __future__ import annotations

import numpy as np
import pytest

from gistline.findings.drift import (
    FrameOutput,
    compare_images,
    compare_outputs,
    count_outputs,
    describe_images,
    limit_of,
    outside_calibration,
)

LEAST = 0.2


def outputs(random: np.random.Generator, frames: int, ng: float = 0.3) -> list[FrameOutput]:
    labels = ["open", "short", "spur"]
    return [
        FrameOutput(labels[random.integers(3)], float(random.uniform(0.5, 1)), int(random.integers(1, 4)))
        if random.random() < ng
        else FrameOutput(None, 0.0, 0)
        for _ in range(frames)
    ]


def test_without_drift_hardly_any_of_many_small_windows_exceeds_its_limit() -> None:
    random = np.random.default_rng(1)
    fired = compared = 0
    for _ in range(300):
        before, now = (count_outputs(outputs(random, frames)) for frames in (200, 60))
        found = compare_outputs(before, now, least=LEAST)
        fired += sum(one.drifted for one in found)
        compared += len(found)
    assert compared == 900
    assert fired <= 9  # a naive limit of 0.1 would have fired hundreds of times


def test_another_share_of_findings_is_drift_and_the_words_name_it() -> None:
    random = np.random.default_rng(2)
    before, now = count_outputs(outputs(random, 500)), count_outputs(outputs(random, 300, ng=0.7))
    found = {one.statistic: one for one in compare_outputs(before, now, least=LEAST)}
    assert found["strongest class"].drifted
    assert found["findings a frame"].drifted
    assert found["strongest class"].largest.startswith("none: 3")


def test_an_index_by_hand() -> None:
    (found,) = compare_outputs({"x": {"a": 99, "b": 99}}, {"x": {"a": 149, "b": 49}}, least=LEAST)
    shares = (99.5 / 199, 149.5 / 199, 49.5 / 199)
    by_hand = (shares[1] - shares[0]) * np.log(shares[1] / shares[0])
    by_hand += (shares[2] - shares[0]) * np.log(shares[2] / shares[0])
    assert found.index == pytest.approx(by_hand)
    assert found.limit == LEAST  # 10.828 * (1/198 + 1/198) is less


def test_small_windows_need_more_and_the_floor_holds_for_large_ones() -> None:
    assert limit_of(10, 500, 50, least=LEAST) == pytest.approx(27.877 * (1 / 500 + 1 / 50))
    assert limit_of(10, 100_000, 100_000, least=LEAST) == LEAST


def test_a_darker_lamp_is_drift_and_the_same_lamp_is_not() -> None:
    random = np.random.default_rng(3)
    told = describe_images({"brightness": random.normal(150, 10, 100).tolist()})
    (same,) = compare_images(told, {"brightness": random.normal(150, 10, 80).tolist()}, least=LEAST)
    (dark,) = compare_images(told, {"brightness": random.normal(110, 10, 80).tolist()}, least=LEAST)
    assert not same.drifted
    assert dark.drifted
    assert "median 1" in dark.largest


def test_what_is_significant_and_does_not_matter_is_no_drift() -> None:
    told = describe_images({"brightness": [150.0 + number / 1000 for number in range(200)]})
    (found,) = compare_images(told, {"brightness": [151.0] * 200}, least=LEAST)
    assert found.index > found.limit
    assert not found.drifted
    (moved,) = compare_images(told, {"brightness": [170.0] * 200}, least=LEAST)
    assert moved.drifted


def test_a_lamp_that_never_varies_is_compared_with_itself() -> None:
    told = describe_images({"brightness": [150.0] * 100})
    (found,) = compare_images(told, {"brightness": [150.0] * 100}, least=LEAST)
    assert not found.drifted


def test_frames_beyond_the_calibration_images_are_counted() -> None:
    told = describe_images({"sharpness": np.linspace(4, 6, 100).tolist()})
    (inside,) = outside_calibration(told, {"sharpness": [4.5] * 30})
    (beyond,) = outside_calibration(told, {"sharpness": [2.0] * 20 + [5.0] * 10})
    assert (inside.index, inside.drifted) == (0.0, False)
    assert beyond.index == pytest.approx(2 / 3)
    assert beyond.drifted


def test_more_classes_than_the_table_reaches_are_put_together() -> None:
    before = {"strongest class": {f"class {number}": 10 for number in range(40)}}
    (found,) = compare_outputs(before, before, least=LEAST)
    assert found.index == 0
    assert not found.drifted
