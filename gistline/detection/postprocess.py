"""Candidates -> detections in pixels of the original image. Pure numpy, and OpenCV for the NMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates
from gistline.detection.preprocess import Geometry
from gistline.domain import Box, Detection
from gistline.errors import EngineUnavailable

_HIGHEST_SCORE: Final = 1.01
"""Roundings exceed 1 by less; above it a sigmoid is missing from the network."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept: ``min_confidence`` in [0, 1], ``nms_iou`` in (0, 1], at most ``max_detections`` an image."""

    min_confidence: float
    nms_iou: float
    max_detections: int


def to_detections(
    candidates: Candidates, *, labels: Sequence[str], limits: Limits, suppressed: bool = False
) -> list[Detection]:
    """Map boxes back, clip them to the image, suppress overlaps within each class.

    Args:
        candidates: of one image, strongest first.
        labels: class names in the order of the class indices.
        limits: what is kept.
        suppressed: the network has suppressed overlaps itself, so none are here.

    Returns:
        Detections, strongest first; boxes in pixels of the original, never empty.

    Raises:
        EngineUnavailable: a score exceeds 1.

    """
    if candidates.scores.size and candidates.scores[0] > _HIGHEST_SCORE:
        raise EngineUnavailable(
            f"The detector answered a score of {candidates.scores[0]:.3g}; scores lie in 0..1.",
            cure="Take a model file whose last step is the sigmoid.",
        )
    corners = _to_original(candidates.boxes.T.astype(np.float64), candidates.geometry)
    visible = (corners[:, 2] > 0) & (corners[:, 3] > 0)
    corners, scores, classes = corners[visible], candidates.scores[visible], candidates.classes[visible]
    kept = range(len(scores)) if suppressed else _suppress(corners, scores, classes=classes, iou=limits.nms_iou)
    return [
        Detection(label=labels[classes[i]], confidence=min(1.0, float(scores[i])), box=Box(*corners[i].tolist()))
        for i in kept[: limits.max_detections]
    ]


def _suppress(
    corners: NDArray[np.float64], scores: NDArray[np.float32], *, classes: NDArray[np.int32], iou: float
) -> Sequence[int]:
    """Indices that outlive the class-wise NMS, strongest first."""
    return cv2.dnn.NMSBoxesBatched(cast(Any, corners), cast(Any, scores), cast(Any, classes), 0.0, iou)


def _to_original(boxes: NDArray[np.float64], geometry: Geometry) -> NDArray[np.float64]:
    """``[4, n]`` centre and size in input pixels -> ``[n, 4]`` corner and size in original pixels, clipped."""
    centre, half = boxes[:2], boxes[2:] / 2
    pad = np.array([[geometry.pad_x], [geometry.pad_y]])
    scale = np.array([[geometry.scale_x], [geometry.scale_y]])
    limit = np.array([[geometry.width], [geometry.height]])
    low = np.clip((centre - half - pad) / scale, 0, limit)
    high = np.clip((centre + half - pad) / scale, 0, limit)
    return np.ascontiguousarray(np.concatenate([low, high - low]).T)
