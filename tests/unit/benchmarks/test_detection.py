"""The comparison of quantising recipes: which are measured, and what is made of the figures."""

from __future__ import annotations

import numpy as np

from benchmarks.detection import FP32, HEADS, METHODS, WHOLE, Key, Result, claims, recipes, table
from gistline.detection.evaluation import THRESHOLDS, Accuracy


def result(key: Key, points: float, ratio: float) -> Result:
    accuracy = Accuracy(("open",), np.full((1, len(THRESHOLDS)), points / 100))
    return Result(key, accuracy, 39, 41, 36.0 * ratio, ratio)


def test_every_recipe_is_another_one() -> None:
    made = recipes(64)
    assert len(made) == len(METHODS) * 2 * len(HEADS) + 1
    assert len({repr(recipe) for recipe in made.values()}) == len(made)
    assert all(recipe.weight_steps == 64 for recipe in made.values())


def test_a_claim_is_the_mean_over_pairs_that_differ_in_one_choice() -> None:
    results = [
        result(Key(FP32), 77.0, 1.0),
        result(Key("minmax", "per channel", "head kept"), 76.5, 1.9),
        result(Key("minmax", "per channel", "head quantised"), 75.5, 1.98),
        result(Key("minmax", "per tensor", "head kept"), 76.0, 1.9),
        result(Key("minmax", "per tensor", "head quantised"), 73.0, 1.9),
        result(Key("minmax", "per channel", "head kept, clamp 6"), 70.5, 1.9),
        result(Key("minmax", "per channel", WHOLE), 77.0, 1.5),
        result(Key("entropy", "per channel", "head kept"), 66.5, 1.9),
        result(Key("percentile", "per channel", "head kept"), 76.75, 1.9),
    ]
    said = claims(results)
    assert "+2.00 points of mAP50-95 (2 pairs, +1.00 to +3.00); speed -2 %" in said[0]
    assert "+1.50 points of mAP50-95 (1 pair); speed -24 %" in said[1]
    assert "+1.50 points of mAP50-95 (2 pairs, +0.50 to +2.50); speed +2 %" in said[2]
    assert "-6.00 points" in said[3]
    assert "-10.00 points" in said[4]
    assert "+0.25 points" in said[5]


def test_the_table_holds_losses_against_the_first_row() -> None:
    lines = table([result(Key(FP32), 77.0, 1.0), result(Key("minmax", "per channel", "head kept"), 76.5, 1.9)])
    assert lines[2].endswith("| 77.00 | 0.00 | 36.0 | 1.00 |")
    assert lines[3] == "| minmax | per channel | head kept | 39/41 | 76.50 | 76.50 | 76.50 | 0.50 | 68.4 | 1.90 |"
