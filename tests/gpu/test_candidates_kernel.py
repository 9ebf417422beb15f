"""The filter's kernels against candidates.select (numpy), on a real GPU: the same boxes, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.candidates import MOST_CANDIDATES, select
from gistline.detection.gpu_buffers import GpuSession
from gistline.detection.layouts import Layout, LayoutKind
from gistline.errors import EngineUnavailable
from tests.support.gpu import select_on_gpu

pytestmark = pytest.mark.gpu

LAYOUTS = [
    Layout(LayoutKind.ANCHOR_FREE, 6, 8400),
    Layout(LayoutKind.ANCHOR_FREE, 80, 8400),
    Layout(LayoutKind.ANCHOR_FREE, 1, 21),
    Layout(LayoutKind.OBJECTNESS, 6, 25200),
    Layout(LayoutKind.OBJECTNESS, 80, 25200),
    Layout(LayoutKind.OBJECTNESS, 1, 63),
    Layout(LayoutKind.END_TO_END, 6, 300),
    Layout(LayoutKind.END_TO_END, 80, 5000),
]


def prediction(layout: Layout, batch: int, *, seed: int = 0, steps: int | None = None) -> NDArray[np.float32]:
    """Random boxes and scores in [0, 1], most of them low; ``steps`` rounds scores so that many are equal."""
    random = np.random.default_rng(seed)
    predictions = layout.predictions or 0
    boxes = random.uniform(0, 640, (batch, predictions, 4)).astype(np.float32)
    scores = (random.uniform(0, 1, (batch, predictions, layout.values - 4)) ** 3).astype(np.float32)
    if steps:
        scores = np.round(scores * steps).astype(np.float32) / np.float32(steps)
    if layout.kind is LayoutKind.END_TO_END:
        scores[..., 1] = random.integers(0, layout.classes, (batch, predictions))
    raw = np.concatenate([boxes, scores], axis=2)
    return np.ascontiguousarray(raw.transpose(0, 2, 1) if layout.kind is LayoutKind.ANCHOR_FREE else raw)


def check(session: GpuSession, raw: NDArray[Any], layout: Layout, min_confidence: float) -> list[int]:
    """Compare every image; returns how many candidates each has."""
    counts = []
    for one, found in zip(raw, select_on_gpu(session, raw, layout, min_confidence), strict=True):
        for mine, wanted in zip(found, select(one.astype(np.float32), layout, min_confidence), strict=True):
            np.testing.assert_array_equal(mine, wanted)
            assert mine.dtype == wanted.dtype
        counts.append(len(found[1]))
    return counts


@pytest.mark.parametrize("min_confidence", [0.001, 0.25, 0.9, 1.0])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_same_boxes(session: GpuSession, layout: Layout, min_confidence: float) -> None:
    check(session, prediction(layout, 3), layout, min_confidence)


@pytest.mark.parametrize("batch", [1, 8, 32, 64])
def test_batches(session: GpuSession, batch: int) -> None:
    layout = Layout(LayoutKind.ANCHOR_FREE, 6, 2100)
    counts = check(session, prediction(layout, batch, seed=batch), layout, 0.5)
    assert min(counts) > 0


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[3], LAYOUTS[7]], ids=str)
def test_more_than_fit_leaves_the_strongest(session: GpuSession, layout: Layout) -> None:
    raw = prediction(layout, 4)
    raw[1] *= 0
    counts = check(session, raw, layout, 0.01)
    assert counts == [MOST_CANDIDATES, 0, MOST_CANDIDATES, MOST_CANDIDATES]


def test_of_equal_scores_the_first_are_kept(session: GpuSession) -> None:
    layout = LAYOUTS[0]
    assert check(session, prediction(layout, 2, steps=5), layout, 0.01) == [MOST_CANDIDATES] * 2


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[3], LAYOUTS[6]], ids=str)
def test_half_precision_predictions(session: GpuSession, layout: Layout) -> None:
    check(session, prediction(layout, 2).astype(np.float16), layout, 0.25)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[3], LAYOUTS[6]], ids=str)
def test_nonsense_anywhere_is_refused(session: GpuSession, layout: Layout, value: float) -> None:
    clean = prediction(layout, 2)
    for place in np.random.default_rng(0).integers(0, clean[1].size, 8).tolist():
        raw = clean.copy()
        raw[1].reshape(-1)[place] = value
        with pytest.raises(EngineUnavailable, match="NaN or infinity"):
            select_on_gpu(session, raw, layout, 0.25)


@pytest.mark.parametrize("label", [-1, 6, 1e9])
def test_a_class_that_does_not_exist_is_refused(session: GpuSession, label: float) -> None:
    raw = prediction(LAYOUTS[6], 2)
    raw[1, 17, 4:] = 0.9, label
    with pytest.raises(EngineUnavailable, match="of 6 that it names"):
        select_on_gpu(session, raw, LAYOUTS[6], 0.25)
