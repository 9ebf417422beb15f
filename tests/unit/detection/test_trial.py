"""Predictions that a shape cannot tell from good ones."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.trial import examine, pictures
from gistline.errors import ModelRejected

SIZE = (480, 640)
CLASSES = 4


def good(kind: LayoutKind, number: int = 400) -> NDArray[np.float32]:
    """Boxes of 10 to 120 pixels all over the image, weak scores, ``[number, values]``."""
    random = np.random.default_rng(number)
    low = random.uniform((0, 0), (SIZE[1] - 120, SIZE[0] - 120), (number, 2))
    sides = random.uniform(10, 120, (number, 2))
    scores = random.uniform(0, 0.2, (number, CLASSES))
    if kind is LayoutKind.END_TO_END:
        classes = random.integers(0, CLASSES, (number, 1))
        return np.hstack([low, low + sides, -np.sort(-scores[:, :1], axis=0), classes]).astype(np.float32)
    objectness = random.uniform(0, 1, (number, 1)) if kind is LayoutKind.OBJECTNESS else np.empty((number, 0))
    return np.hstack([low + sides / 2, sides, objectness, scores]).astype(np.float32)


def refusal(rows: NDArray[np.float32], kind: LayoutKind) -> ModelRejected:
    with pytest.raises(ModelRejected) as refused:
        examine(rows, Layout(kind, CLASSES), SIZE)
    return refused.value


@pytest.mark.parametrize("kind", LayoutKind)
@pytest.mark.parametrize("number", [0, 1, 5, 400])
def test_good_predictions_pass(kind: LayoutKind, number: int) -> None:
    examine(good(kind, number), Layout(kind, CLASSES), SIZE)


def test_places_left_empty_by_built_in_nms_pass() -> None:
    rows = good(LayoutKind.END_TO_END)
    rows[3:] = 0
    rows[5:, 5] = -1
    examine(rows, Layout(LayoutKind.END_TO_END, CLASSES), SIZE)
    examine(np.zeros((300, 6), np.float32), Layout(LayoutKind.END_TO_END, CLASSES), SIZE)


@pytest.mark.parametrize("kind", LayoutKind)
@pytest.mark.parametrize("score", [-4.0, 1.5])
def test_scores_outside_of_their_range(kind: LayoutKind, score: float) -> None:
    rows = good(kind)
    rows[7, 4] = score
    assert f"{score:.3g}" in refusal(rows, kind).message


@pytest.mark.parametrize("kind", LayoutKind)
def test_shares_of_the_image(kind: LayoutKind) -> None:
    rows = good(kind)
    rows[:, :4] /= [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
    assert "480 x 640 pixels: shares" in refusal(rows, kind).message


@pytest.mark.parametrize("kind", [LayoutKind.ANCHOR_FREE, LayoutKind.OBJECTNESS])
def test_corners_where_centres_belong(kind: LayoutKind) -> None:
    rows = good(kind)
    rows[:, :4] = good(LayoutKind.END_TO_END)[:, :4]
    assert "look like left, top, right, bottom" in refusal(rows, kind).message


def test_centres_where_corners_belong() -> None:
    rows = good(LayoutKind.END_TO_END)
    rows[:, :4] = good(LayoutKind.ANCHOR_FREE)[:, :4]
    assert "no corners" in refusal(rows, LayoutKind.END_TO_END).message


def test_score_and_class_the_wrong_way_round() -> None:
    rows = good(LayoutKind.END_TO_END)[:, [0, 1, 2, 3, 5, 4]]
    assert "where one of 0..3 belongs" in refusal(rows, LayoutKind.END_TO_END).message


def test_another_layout_of_as_many_values() -> None:
    """One class with objectness read as end-to-end: its last value is a score, not a class."""
    rows = good(LayoutKind.OBJECTNESS)[:, :6]
    assert "where one of 0..3 belongs" in refusal(rows, LayoutKind.END_TO_END).message


@pytest.mark.parametrize("size", [(32, 32), (480, 640), (100, 33)])
def test_pictures_are_of_the_size_and_always_the_same(size: tuple[int, int]) -> None:
    first, second = pictures(size), pictures(size)
    assert first.shape == (2, *size, 3)
    assert first.dtype == np.uint8
    assert (first == second).all()
    assert first[0].std() == 0 < first[1].std()
