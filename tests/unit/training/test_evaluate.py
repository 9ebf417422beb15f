"""The yardstick of the bundled detector."""

from __future__ import annotations

import numpy as np

from training.data import Truth
from training.evaluate import Prediction, decode, measure

TRUTH: list[list[Truth]] = [
    [(label, (60.0 * label + 10, 40.0, 30.0, 30.0)) for label in range(6)],
    [(label, (60.0 * label + 10, 300.0, 30.0, 30.0)) for label in range(6)],
]


def _shifted(by: float) -> list[list[Prediction]]:
    return [[(label, 0.9, (x + by, y, w, h)) for label, (x, y, w, h) in row] for row in TRUTH]


def test_the_truth_itself_scores_one() -> None:
    scores = measure(TRUTH, _shifted(0))
    assert (scores.map33, scores.map50, scores.map50_95, scores.best_f33) == (1.0, 1.0, 1.0, 1.0)
    assert (scores.images, scores.boxes) == (2, 12)


def test_iou_of_0_4_counts_at_0_33_and_not_at_0_50() -> None:
    scores = measure(TRUTH, _shifted(30 * 0.6 / 1.4))
    assert scores.map33 == 1.0
    assert scores.map50 == 0.0
    assert scores.best_f33 == 1.0


def test_iou_of_0_6_counts_for_three_of_ten_thresholds() -> None:
    assert measure(TRUTH, _shifted(30 * 0.38 / 1.62)).map50_95 == 0.3


def test_nothing_found_scores_nought() -> None:
    assert measure(TRUTH, [[], []]).map33 == 0.0


def test_another_class_is_no_hit() -> None:
    wrong = [[((label + 1) % 6, score, box) for label, score, box in row] for row in _shifted(0)]
    assert measure(TRUTH, wrong).map33 == 0.0


def test_a_false_alarm_above_the_hits_halves_precision() -> None:
    noisy = [[*row, *((label, 0.95, (5.0, 500.0, 20.0, 20.0)) for label in range(6))] for row in _shifted(0)]
    scores = measure(TRUTH, noisy)
    assert abs(scores.map33 - 0.5) < 1e-6
    assert abs(scores.best_f33 - 2 / 3) < 1e-4


def _output(rows: list[tuple[float, ...]]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(rows, np.float32).T


def test_decoding_takes_the_best_class_and_turns_centres_into_corners() -> None:
    found = decode(_output([(100, 80, 40, 20, 0.1, 0.7, 0, 0, 0, 0)]))
    assert len(found) == 1
    label, score, box = found[0]
    assert label == 1
    assert abs(score - 0.7) < 1e-6
    assert box == (80.0, 70.0, 40.0, 20.0)


def test_suppression_is_class_wise() -> None:
    same, other = (100, 80, 40, 20, 0.9, 0, 0, 0, 0, 0), (101, 80, 40, 20, 0, 0.6, 0, 0, 0, 0)
    again = (102, 80, 40, 20, 0.8, 0, 0, 0, 0, 0)
    assert [label for label, _, _ in decode(_output([same, other, again]))] == [0, 1]


def test_scores_below_a_thousandth_are_dropped() -> None:
    assert decode(_output([(100, 80, 40, 20, 0.0009, 0, 0, 0, 0, 0)])) == []
