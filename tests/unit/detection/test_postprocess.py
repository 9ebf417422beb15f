from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates, select
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.postprocess import Limits, to_detections
from gistline.detection.preprocess import Geometry
from gistline.domain import Box, Detection
from gistline.errors import EngineUnavailable

LABELS = ("open", "short")
PLAIN = Geometry(width=640, height=640, scale_x=1, scale_y=1, pad_x=0, pad_y=0)
LIMITS = Limits(min_confidence=0.25, nms_iou=0.5, max_detections=10)


def prediction(*rows: tuple[float, float, float, float, float, float]) -> NDArray[np.float32]:
    """Anchors as (centre x, centre y, width, height, open, short) -> [6, anchors]."""
    return np.array(rows, np.float32).reshape(-1, 6).T


def decode(raw: NDArray[np.float32], geometry: Geometry, *, labels: tuple[str, ...], limits: Limits) -> list[Detection]:
    layout = Layout(LayoutKind.ANCHOR_FREE, len(labels))
    candidates = Candidates(*select(raw, layout, limits.min_confidence), geometry)
    return to_detections(candidates, labels=labels, limits=limits)


def test_best_class_box_and_order() -> None:
    found = decode(
        prediction((100, 50, 20, 10, 0.3, 0.1), (300, 200, 40, 60, 0.2, 0.9)), PLAIN, labels=LABELS, limits=LIMITS
    )
    assert [one.label for one in found] == ["short", "open"]
    assert found[0].confidence == pytest.approx(0.9)
    assert found[0].box == Box(280, 170, 40, 60)
    assert found[1].box == Box(90, 45, 20, 10)


def test_nothing_above_the_threshold_is_an_empty_list() -> None:
    assert decode(prediction((100, 50, 20, 10, 0.24, 0.1)), PLAIN, labels=LABELS, limits=LIMITS) == []
    assert decode(prediction(), PLAIN, labels=LABELS, limits=LIMITS) == []


def test_threshold_is_inclusive() -> None:
    assert len(decode(prediction((100, 50, 20, 10, 0.25, 0.1)), PLAIN, labels=LABELS, limits=LIMITS)) == 1


def test_overlap_of_one_class_is_suppressed_of_two_kept() -> None:
    same = prediction((100, 100, 40, 40, 0.9, 0), (104, 100, 40, 40, 0.8, 0))
    other = prediction((100, 100, 40, 40, 0.9, 0), (104, 100, 40, 40, 0, 0.8))
    assert [one.confidence for one in decode(same, PLAIN, labels=LABELS, limits=LIMITS)] == [pytest.approx(0.9)]
    assert len(decode(other, PLAIN, labels=LABELS, limits=LIMITS)) == 2


def test_overlap_below_the_limit_is_kept() -> None:
    # Shifted by half: intersection 20 x 40, union 60 x 40, IoU 1/3.
    apart = prediction((100, 100, 40, 40, 0.9, 0), (120, 100, 40, 40, 0.8, 0))
    assert len(decode(apart, PLAIN, labels=LABELS, limits=LIMITS)) == 2
    assert len(decode(apart, PLAIN, labels=LABELS, limits=Limits(0.25, 0.3, 10))) == 1


def test_boxes_are_mapped_back_and_clipped() -> None:
    half = Geometry(width=1280, height=640, scale_x=0.5, scale_y=0.5, pad_x=0, pad_y=160)
    found = decode(
        prediction((320, 320, 64, 32, 0.9, 0), (0, 160, 20, 20, 0.8, 0), (639, 479, 40, 40, 0.7, 0)),
        half,
        labels=LABELS,
        limits=LIMITS,
    )
    assert [one.box for one in found] == [Box(576, 288, 128, 64), Box(0, 0, 20, 20), Box(1238, 598, 42, 42)]


def test_box_in_the_padding_is_dropped() -> None:
    padded = Geometry(width=640, height=320, scale_x=1, scale_y=1, pad_x=0, pad_y=160)
    assert decode(prediction((320, 50, 40, 40, 0.9, 0)), padded, labels=LABELS, limits=LIMITS) == []


def test_only_the_strongest_are_kept() -> None:
    many = prediction(*((10 + 40 * i, 20, 20, 20, 0.3 + 0.03 * i, 0) for i in range(15)))
    found = decode(many, PLAIN, labels=LABELS, limits=LIMITS)
    assert len(found) == 10
    assert found[0].confidence == pytest.approx(0.72)
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)


def test_rounding_above_one_is_cut() -> None:
    found = decode(prediction((100, 50, 20, 10, 1.0000002, 0)), PLAIN, labels=LABELS, limits=LIMITS)
    assert found[0].confidence == 1.0


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 5])
def test_nan_or_infinity_is_never_nothing_found(nonsense: float, row: int) -> None:
    spoilt = prediction((100, 50, 20, 10, 0.1, 0.1), (100, 50, 20, 10, 0.1, 0.1))
    spoilt[row, 1] = nonsense
    with pytest.raises(EngineUnavailable, match="not looked at"):
        decode(spoilt, PLAIN, labels=LABELS, limits=LIMITS)


def test_other_shape_is_refused() -> None:
    with pytest.raises(EngineUnavailable, match=r"\[7, 3\].*\[6, predictions\]"):
        decode(np.zeros((7, 3), np.float32), PLAIN, labels=LABELS, limits=LIMITS)
