from __future__ import annotations

import numpy as np

from gistline.simulator.engine import Pace, SimulatedDetector, Speed, found_on


class Naps(Pace):
    def __init__(self) -> None:
        super().__init__()
        self.spent: list[float] = []

    def spend(self, seconds: float) -> None:
        self.spent.append(seconds)


def pictures(count: int) -> list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]]:
    return [np.random.default_rng(seed).integers(0, 255, (128, 96), np.uint8) for seed in range(count)]


def test_findings_follow_from_the_picture_alone() -> None:
    detector = SimulatedDetector(Speed())
    once, again = detector.detect(pictures(50)), detector.detect(pictures(50))
    assert once == again
    assert len({tuple(found) for found in once if found}) > 10


def test_the_mean_number_of_findings_is_what_was_asked_for() -> None:
    counts = [len(found_on(image, 2.0)) for image in pictures(400)]
    assert 1.7 < np.mean(counts) < 2.3
    assert max(counts) <= 5
    assert found_on(pictures(1)[0], 0.0) == []


def test_boxes_lie_inside_and_weak_findings_are_left_out() -> None:
    seen = [one for found in SimulatedDetector(Speed(), 3.0).detect(pictures(50), 0.6) for one in found]
    assert seen
    assert all(one.confidence >= 0.6 for one in seen)
    assert all(one.box.x + one.box.w <= 96 and one.box.y + one.box.h <= 128 for one in seen)


def test_a_batch_takes_its_fixed_part_once() -> None:
    naps = Naps()
    detector = SimulatedDetector(Speed(0.01, 0.002), _pace=naps)
    detector.detect(pictures(3))
    assert np.allclose(naps.spent, [0.012, 0.002, 0.002])
    assert np.isclose(detector.speed.of(3), sum(naps.spent))
