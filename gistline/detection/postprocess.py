"""A raw prediction -> detections in pixels of the original image. Pure numpy, and OpenCV for the NMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.detection.preprocess import Geometry
from gistline.domain import Box, Detection
from gistline.errors import EngineUnavailable

_CANDIDATES_PER_DETECTION: Final = 10
"""Neighbouring anchors answer to one object; more candidates than this would only cost time (NMS is quadratic)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept: ``min_confidence`` in [0, 1], ``nms_iou`` in (0, 1], at most ``max_detections`` an image."""

    min_confidence: float
    nms_iou: float
    max_detections: int


def decode(
    prediction: NDArray[np.float32], geometry: Geometry, *, labels: Sequence[str], limits: Limits
) -> list[Detection]:
    """Filter by score, suppress overlaps within each class, map the boxes back and clip them to the image.

    Args:
        prediction: float32 ``[4 + len(labels), anchors]``: centre x, y, width, height in input pixels, class scores.
        geometry: how the image lay in the input.
        labels: class names in the order of the score rows.
        limits: what is kept.

    Returns:
        Detections, strongest first; boxes in pixels of the original, never empty.

    Raises:
        EngineUnavailable: the prediction holds NaN or infinity, or is of another shape: nothing was looked at.

    """
    _refuse_nonsense(prediction, len(labels))
    scores = prediction[4:].max(axis=0)
    chosen = _strongest(scores, limits)
    classes = prediction[4:, chosen].argmax(axis=0)
    corners = _to_original(prediction[:4, chosen].astype(np.float64), geometry)
    visible = (corners[:, 2] > 0) & (corners[:, 3] > 0)
    chosen, classes, corners = chosen[visible], classes[visible], corners[visible]
    kept = cv2.dnn.NMSBoxesBatched(
        cast(Any, corners), cast(Any, scores[chosen]), cast(Any, classes), 0.0, limits.nms_iou
    )
    return [
        Detection(
            label=labels[classes[i]], confidence=min(1.0, float(scores[chosen[i]])), box=Box(*corners[i].tolist())
        )
        for i in kept[: limits.max_detections]
    ]


def _refuse_nonsense(prediction: NDArray[np.float32], classes: int) -> None:
    if prediction.ndim != 2 or prediction.shape[0] != 4 + classes:
        raise EngineUnavailable(
            f"The detector answered {list(prediction.shape)} instead of [{4 + classes}, anchors].",
            cure="Take a model file whose output matches its class names.",
        )
    if not np.isfinite(prediction).all():
        raise EngineUnavailable(
            "The detector answered NaN or infinity, so the image was not looked at.",
            cure="Run the fp32 model; if it does the same, the model file is damaged.",
        )


def _strongest(scores: NDArray[np.float32], limits: Limits) -> NDArray[np.intp]:
    """Indices of the anchors at or above the threshold, strongest first, at most as many as the NMS can use."""
    above = np.flatnonzero(scores >= limits.min_confidence)
    most = max(1_000, _CANDIDATES_PER_DETECTION * limits.max_detections)
    return above[np.argsort(-scores[above], kind="stable")][:most]


def _to_original(boxes: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """``[4, n]`` centre and size in input pixels -> ``[n, 4]`` corner and size in original pixels, clipped."""
    centre, half = boxes[:2], boxes[2:] / 2
    pad = np.array([[geometry.pad_x], [geometry.pad_y]])
    scale = np.array([[geometry.scale_x], [geometry.scale_y]])
    limit = np.array([[geometry.width], [geometry.height]])
    low = np.clip((centre - half - pad) / scale, 0, limit)
    high = np.clip((centre + half - pad) / scale, 0, limit)
    return np.ascontiguousarray(np.concatenate([low, high - low]).T)
