"""The bootstrap's figures against the plain way of computing them, and its intervals against simulated truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gistline.detection.bootstrap import Draws, Spread, estimate, spread
from gistline.detection.evaluation import COCO_THRESHOLDS, THRESHOLDS, LabelledBox, measure
from gistline.domain import Box, Detection

LABELS = ("open", "short", "spur")
Predictions = list[list[Detection]]
Truth = list[list[LabelledBox]]


def random_set(seed: int, *, images: int = 30, skill: float = 0.9, hard: float = 0.0) -> tuple[Predictions, Truth]:
    """Labels and detections that find each with probability ``skill``, less on hard images, beside inventions."""
    random = np.random.default_rng(seed)

    def box() -> Box:
        return Box(*map(float, random.uniform(0, 500, 2)), *map(float, random.uniform(20, 60, 2)))

    truth: Truth = []
    predictions: Predictions = []
    for _ in range(images):
        labelled = [(str(random.choice(LABELS[:2] if random.random() < 0.9 else LABELS)), box()) for _ in range(5)]
        chance = skill * (1 - hard * random.random())
        found = [
            Detection(
                label, float(random.uniform(0.2, 1)), Box(*(np.array([b.x, b.y, b.w, b.h]) + random.normal(0, 2, 4)))
            )
            for label, b in labelled
            if random.random() < chance
        ]
        found += [Detection(str(random.choice(LABELS)), float(random.uniform(0, 0.7)), box()) for _ in range(2)]
        truth.append(labelled)
        predictions.append(found)
    return predictions, truth


def repeated(things: Sequence[object], counts: Sequence[float]) -> list[object]:
    return [thing for thing, count in zip(things, counts, strict=True) for _ in range(int(count))]


def test_every_draw_is_what_measuring_the_drawn_images_gives() -> None:
    predictions, truth = random_set(1)
    draws = Draws.make(len(truth), resamples=12, seed=3)
    found = spread(predictions, truth, LABELS, draws)
    assert found.values.shape == (13, len(LABELS), len(THRESHOLDS))
    for row, counts in enumerate(draws.counts):
        drawn = measure(repeated(predictions, counts), repeated(truth, counts), LABELS)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.values[row], drawn.average_precision, atol=1e-12)
        assert found.mean(*COCO_THRESHOLDS)[row] == pytest.approx(drawn.map50_95)


def test_draws_taken_in_portions_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, truth = random_set(2)
    draws = Draws.make(len(truth), resamples=20, seed=3)
    whole = spread(predictions, truth, LABELS, draws)
    monkeypatch.setattr("gistline.detection.bootstrap._CELLS", 100)
    np.testing.assert_array_equal(spread(predictions, truth, LABELS, draws).values, whole.values)


def test_equal_seeds_draw_alike_and_others_do_not() -> None:
    one, two, three = (Draws.make(50, resamples=5, seed=seed).counts for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()
    assert (one.sum(axis=1) == 50).all()


def test_a_class_without_labels_in_a_draw_is_left_out_of_its_figures() -> None:
    truth: Truth = [[("open", Box(0, 0, 10, 10))], [("short", Box(0, 0, 10, 10))]]
    predictions = [[Detection("open", 0.9, Box(0, 0, 10, 10))], [Detection("spur", 0.9, Box(0, 0, 10, 10))]]
    draws = Draws(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]]))
    found = spread(predictions, truth, LABELS, draws)
    np.testing.assert_array_equal(found.mean(0.5), [0.5, 1.0, 0.0])
    np.testing.assert_array_equal(found.mean(0.5, label="open"), [1.0, 1.0, np.nan])
    assert np.isnan(found.mean(0.5, label="spur")).all()


def test_an_estimate_is_the_set_s_own_value_between_the_resamples_quantiles() -> None:
    found = estimate(np.array([0.5, *np.linspace(0, 1, 1001), np.nan]))
    assert [found.value, found.low, found.high] == pytest.approx([0.5, 0.025, 0.975])
    nothing = estimate(np.array([np.nan, np.nan]))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_a_paired_loss_is_surer_than_either_figure_and_zero_against_itself() -> None:
    predictions, truth = random_set(5, images=60, hard=0.8)
    random = np.random.default_rng(6)
    weaker = [[one for one in found if random.random() < 0.97] for found in predictions]
    draws = Draws.make(len(truth), resamples=400, seed=1)
    strong, weak = (spread(one, truth, LABELS, draws).mean(0.5) for one in (predictions, weaker))
    own, loss = estimate(strong), estimate(strong - weak)
    assert loss.high - loss.low < 0.6 * (own.high - own.low)
    assert loss.low <= loss.value <= loss.high
    same = estimate(strong - strong)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_intervals_of_a_loss_hold_the_true_one_about_as_often_as_they_say() -> None:
    """The true loss is that of all images; sets of 80 of them should enclose it in about 19 cases of 20."""
    predictions, truth = random_set(7, images=2_400, hard=0.5)
    random = np.random.default_rng(8)
    weaker = [[one for one in found if random.random() < 0.93] for found in predictions]
    true = measure(predictions, truth, LABELS[:2]).map50 - measure(weaker, truth, LABELS[:2]).map50
    held = sum(encloses(predictions, weaker, truth, start=start, true=true) for start in range(0, 2_400, 80))
    assert 25 <= held <= 30


def encloses(strong: Predictions, weak: Predictions, truth: Truth, *, start: int, true: float) -> bool:
    part = slice(start, start + 80)
    draws = Draws.make(80, resamples=300, seed=start)
    pair: list[Spread] = [spread(one[part], truth[part], LABELS[:2], draws) for one in (strong, weak)]
    loss = estimate(pair[0].mean(0.5) - pair[1].mean(0.5))
    return loss.low <= true <= loss.high
