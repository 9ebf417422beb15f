"""Average precision of detections against labels, as COCO defines it (arXiv 1405.0312). Pure numpy.

Own code, since the product measures itself in production and must not need a training tool to do so; a test compares
it with faster-coco-eval's figures. Thresholds are COCO's ten and 0.33, the criterion of DeepPCB's authors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.domain import Box, Detection

COCO_THRESHOLDS: Final = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
DEEPPCB_THRESHOLD: Final = 0.33
THRESHOLDS: Final = (DEEPPCB_THRESHOLD, *COCO_THRESHOLDS)
_MOST_PER_CLASS: Final = 100
"""Detections of one class in one image that count, strongest first (COCO's maxDets)."""
RECALLS: Final = np.linspace(0, 1, 101)
"""Recalls at which COCO reads the precision."""

LabelledBox = tuple[str, Box]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Average precision in [0, 1]: ``average_precision[class, threshold]``, NaN for a class without labels."""

    labels: tuple[str, ...]
    average_precision: NDArray[np.float64]

    def mean(self, *thresholds: float) -> float:
        """Mean over the classes that have labels and the IoU thresholds given; NaN when none has."""
        chosen = self.average_precision[:, [THRESHOLDS.index(threshold) for threshold in thresholds]]
        chosen = chosen[~np.isnan(chosen).any(axis=1)]
        return float(chosen.mean()) if chosen.size else float("nan")

    @property
    def map33(self) -> float:
        """Mean over classes at IoU 0.33."""
        return self.mean(DEEPPCB_THRESHOLD)

    @property
    def map50(self) -> float:
        """Mean over classes at IoU 0.50."""
        return self.mean(0.5)

    @property
    def map50_95(self) -> float:
        """Mean over classes and COCO's ten thresholds."""
        return self.mean(*COCO_THRESHOLDS)

    def of_class(self, label: str, *thresholds: float) -> float:
        """One class's average precision, mean over the thresholds."""
        row = self.average_precision[self.labels.index(label)]
        return float(np.mean([row[THRESHOLDS.index(threshold)] for threshold in thresholds]))


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """One class's detections of all images, strongest first, matched once.

    ``hits`` is ``[detection, threshold]`` bool, ``images`` the index of each detection's image, ``wanted`` the number
    of labels on each image.
    """

    hits: NDArray[np.bool_]
    images: NDArray[np.intp]
    wanted: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Hits, false alarms and misses at one confidence and IoU threshold."""

    hits: int
    false_alarms: int
    misses: int

    @property
    def precision(self) -> float:
        """Share of the detections that are right; 1 when there is none."""
        return self.hits / max(1, self.hits + self.false_alarms) if self.hits + self.false_alarms else 1.0

    @property
    def recall(self) -> float:
        """Share of the labels that were found; 1 when there is none."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 1.0

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall."""
        total = 2 * self.hits + self.false_alarms + self.misses
        return 2 * self.hits / total if total else 1.0


def measure(
    predictions: Sequence[Sequence[Detection]], truth: Sequence[Sequence[LabelledBox]], labels: Sequence[str]
) -> Accuracy:
    """Average precision of each class at each of ``THRESHOLDS``.

    Args:
        predictions: detections of each image, made with a low threshold (0.001): those left out cost recall.
        truth: class and box of each defect of the same images, in the same order.
        labels: classes to measure.

    Raises:
        ValueError: different numbers of images.

    """
    rows = [_class_precision(predictions, truth, label) for label in labels]
    return Accuracy(tuple(labels), np.array(rows).reshape(len(labels), len(THRESHOLDS)))


def operating_point(
    predictions: Sequence[Sequence[Detection]],
    truth: Sequence[Sequence[LabelledBox]],
    *,
    min_confidence: float,
    iou: float = DEEPPCB_THRESHOLD,
) -> OperatingPoint:
    """Hits, false alarms and misses of the detections at or above a confidence, over all classes.

    Raises:
        ValueError: different numbers of images, or an IoU that is none of ``THRESHOLDS``.

    """
    column = THRESHOLDS.index(iou)
    hits = found = wanted = 0
    for detections, labelled in zip(predictions, truth, strict=True):
        kept = [one for one in detections if one.confidence >= min_confidence]
        for label in {one.label for one in kept}:
            boxes = [box for name, box in labelled if name == label]
            hits += int(_match([one for one in kept if one.label == label], boxes)[:, column].sum())
        found, wanted = found + len(kept), wanted + len(labelled)
    return OperatingPoint(hits, found - hits, wanted - hits)


def match_class(
    predictions: Sequence[Sequence[Detection]], truth: Sequence[Sequence[LabelledBox]], label: str
) -> ClassMatches:
    """Match one class's detections with its labels, image by image.

    Raises:
        ValueError: different numbers of images.

    """
    scores: list[float] = []
    matches = [np.zeros((0, len(THRESHOLDS)), np.bool_)]
    images: list[int] = []
    wanted: list[int] = []
    for number, (detections, labelled) in enumerate(zip(predictions, truth, strict=True)):
        ranked = sorted((one for one in detections if one.label == label), key=lambda one: -one.confidence)
        ranked = ranked[:_MOST_PER_CLASS]
        boxes = [box for name, box in labelled if name == label]
        wanted.append(len(boxes))
        scores.extend(one.confidence for one in ranked)
        images.extend([number] * len(ranked))
        matches.append(_match(ranked, boxes))
    order = np.argsort(-np.array(scores), kind="stable")
    return ClassMatches(np.concatenate(matches)[order], np.array(images, np.intp)[order], np.array(wanted, np.int64))


def _class_precision(
    predictions: Sequence[Sequence[Detection]], truth: Sequence[Sequence[LabelledBox]], label: str
) -> NDArray[np.float64]:
    found = match_class(predictions, truth, label)
    wanted = int(found.wanted.sum())
    return _interpolated(found.hits, wanted) if wanted else np.full(len(THRESHOLDS), np.nan)


def _match(ranked: Sequence[Detection], boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """``[detection, threshold]``: whether it hits a label that no stronger one took, the best of those left."""
    hits = np.zeros((len(ranked), len(THRESHOLDS)), np.bool_)
    if not boxes:
        return hits
    free = np.ones((len(THRESHOLDS), len(boxes)), np.bool_)
    each = np.arange(len(THRESHOLDS))
    for row, overlaps in enumerate(ious([one.box for one in ranked], boxes)):
        left = np.where(free, overlaps, -1.0)
        best = left.argmax(axis=1)
        hits[row] = left[each, best] >= THRESHOLDS
        free[each[hits[row]], best[hits[row]]] = False
    return hits


def ious(first: Sequence[Box], second: Sequence[Box]) -> NDArray[np.float64]:
    """Intersection over union of every pair, ``[first, second]``."""
    a, b = (np.array([(box.x, box.y, box.w, box.h) for box in boxes]).reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    joint = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - shared
    return np.asarray(shared / np.maximum(joint, 1e-12))


def _interpolated(hits: NDArray[np.bool_], wanted: int) -> NDArray[np.float64]:
    """Mean over 101 recalls of the best precision at that recall or more; ``hits`` strongest first."""
    found = np.cumsum(hits, axis=0)
    precision = found / np.arange(1, len(hits) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    result = np.zeros(hits.shape[1])
    for column in range(hits.shape[1]):
        reached = np.searchsorted(found[:, column] / wanted, RECALLS)
        result[column] = envelope[reached[reached < len(hits)], column].sum() / RECALLS.size
    return result
