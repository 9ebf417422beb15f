"""``select`` against a reference so slow and plain that it can be seen to be right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gistline.detection.candidates import MOST_CANDIDATES, select
from gistline.detection.layouts import Layout, LayoutKind
from gistline.errors import EngineUnavailable

Found = list[tuple[tuple[float, ...], float, int]]


def slow(raw: NDArray[np.float32], layout: Layout, least: float) -> Found:
    """One prediction after the other; Python's sort is stable."""
    rows = raw.T if layout.kind is LayoutKind.ANCHOR_FREE else raw
    found: Found = []
    for row in rows:
        if layout.kind is LayoutKind.END_TO_END:
            left, top, right, bottom, score, index = row
            box = ((left + right) / np.float32(2), (top + bottom) / np.float32(2), right - left, bottom - top)
            best = int(index)
        else:
            first = 5 if layout.kind is LayoutKind.OBJECTNESS else 4
            scores = [row[4] * one if first == 5 else one for one in row[first:]]
            plain = list(row[first:])
            best = plain.index(max(plain))
            score, box = scores[best], tuple(row[:4])
        if score >= np.float32(least):
            found.append((tuple(float(side) for side in box), float(score), best))
    return sorted(found, key=lambda one: -one[1])[:MOST_CANDIDATES]


@st.composite
def predictions(draw: st.DrawFn) -> tuple[NDArray[np.float32], Layout]:
    kind = draw(st.sampled_from(LayoutKind))
    classes, number = draw(st.integers(1, 5)), draw(st.sampled_from([0, 1, 2, 7, 60, 3_500]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Few distinct scores, so that there are ties between classes, between predictions and with the threshold.
    steps = draw(st.sampled_from([2, 4, 1_000]))
    layout = Layout(kind, classes)
    rows = random.uniform(-50, 700, (number, layout.values)).astype(np.float32)
    rows[:, 4:] = random.integers(0, steps + 1, (number, layout.values - 4)) / steps
    if kind is LayoutKind.END_TO_END:
        rows[:, 5] = random.integers(0, classes, number)
    return (rows.T.copy() if kind is LayoutKind.ANCHOR_FREE else rows), layout


@settings(max_examples=150, deadline=None)
@given(predictions(), st.sampled_from([0.001, 0.25, 0.3, 0.5, 0.75, 1.0]))
def test_select_agrees_with_the_slow_reference(case: tuple[NDArray[np.float32], Layout], least: float) -> None:
    raw, layout = case
    before = raw.copy()
    boxes, scores, classes = select(raw, layout, least)
    assert [str(array.dtype) for array in (boxes, scores, classes)] == ["float32", "float32", "int32"]
    assert (boxes.shape, scores.shape, classes.shape) == ((len(scores), 4), (len(scores),), (len(scores),))
    found = list(zip(map(tuple, boxes.tolist()), scores.tolist(), classes.tolist(), strict=True))
    assert found == slow(raw, layout, least)
    for array in (boxes, scores):
        array[...] = -1
    assert (raw == before).all(), "views of the prediction were given out"


@settings(max_examples=60, deadline=None)
@given(predictions(), st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 2**32 - 1))
def test_nonsense_anywhere_is_never_nothing_found(
    case: tuple[NDArray[np.float32], Layout], nonsense: float, seed: int
) -> None:
    raw, layout = case
    if raw.size:
        raw.reshape(-1)[seed % raw.size] = nonsense
        with pytest.raises(EngineUnavailable, match="NaN or infinity"):
            select(raw, layout, 0.25)


@pytest.mark.parametrize("index", [-1, 2, 300])
def test_a_class_that_does_not_exist(index: int) -> None:
    layout = Layout(LayoutKind.END_TO_END, 2)
    rows = np.array([[0, 0, 9, 9, 0.9, 1], [0, 0, 9, 9, 0.5, index]], np.float32)
    with pytest.raises(EngineUnavailable, match=f"class {index}, of 2"):
        select(rows, layout, 0.25)
    assert len(select(rows, layout, 0.6)[1]) == 1, "places that built-in NMS left empty are below every threshold"


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (LayoutKind.ANCHOR_FREE, (20, 7)),
        (LayoutKind.OBJECTNESS, (8, 20)),
        (LayoutKind.END_TO_END, (6, 20)),
        (LayoutKind.END_TO_END, (21, 6)),
    ],
)
def test_another_shape(kind: LayoutKind, shape: tuple[int, int]) -> None:
    with pytest.raises(EngineUnavailable, match=r"instead of \["):
        select(np.zeros(shape, np.float32), Layout(kind, 3, 20), 0.25)
