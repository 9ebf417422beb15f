"""How sure an average precision is: the percentile bootstrap over images (Efron, 1979), paired for a difference.

Images are drawn with replacement, whole: detections of one image are not independent of each other. An engine and its
reference get the same draws, so what makes an image hard cancels out of their difference. Matching happens once; a
resample only weighs each detection by how often its image was drawn. A resample in which a class has no label says
nothing about that class and is left out of its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.evaluation import RECALLS, THRESHOLDS, ClassMatches, LabelledBox, match_class
from gistline.domain import Detection, Estimate

CONFIDENCE: Final = 0.95
_CELLS: Final = 4_000_000
"""Weights held at once: resamples are taken in portions of so many detections."""


@dataclass(frozen=True, slots=True)
class Draws:
    """How often each resample drew each image, ``[resample, image]``; the first row is the set itself, once each."""

    counts: NDArray[np.float64]

    @classmethod
    def make(cls, images: int, *, resamples: int, seed: int) -> Draws:
        """Draw ``resamples`` sets of as many images as there are."""
        random = np.random.default_rng(seed)
        drawn = random.multinomial(images, np.full(images, 1 / images), size=resamples)
        return cls(np.concatenate([np.ones((1, images)), drawn]))


@dataclass(frozen=True, slots=True)
class Spread:
    """Average precisions: ``values[draw, class, threshold]``, NaN where a draw has no label of a class."""

    labels: tuple[str, ...]
    values: NDArray[np.float64]

    def mean(self, *thresholds: float, label: str | None = None) -> NDArray[np.float64]:
        """Of each draw: one class's mean over the thresholds, or that over the classes which have labels there."""
        columns = [THRESHOLDS.index(threshold) for threshold in thresholds]
        by_class = self.values[:, :, columns].mean(axis=2)
        if label is not None:
            return np.asarray(by_class[:, self.labels.index(label)])
        known = ~np.isnan(by_class)
        total = np.where(known, by_class, 0.0).sum(axis=1)
        count = known.sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def spread(
    predictions: Sequence[Sequence[Detection]],
    truth: Sequence[Sequence[LabelledBox]],
    labels: Sequence[str],
    draws: Draws,
) -> Spread:
    """Average precision of every class and threshold in every draw.

    Args:
        predictions: detections of each image, made with a low threshold (0.001).
        truth: labels of the same images.
        labels: classes.
        draws: the same for everything that is to be compared.

    Raises:
        ValueError: different numbers of images.

    """
    columns = [_class_values(match_class(predictions, truth, label), draws.counts) for label in labels]
    return Spread(tuple(labels), np.stack(columns, axis=1))


def estimate(values: NDArray[np.float64]) -> Estimate:
    """The set's own value (the first draw's) with the central 95 % of the resamples."""
    known = values[1:][~np.isnan(values[1:])]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, (tail, 1 - tail)) if known.size else (np.nan, np.nan)
    return Estimate(float(values[0]), float(low), float(high))


def _class_values(found: ClassMatches, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[draw, threshold]``."""
    reach = np.flatnonzero(found.hits.any(axis=1))
    last = int(reach[-1]) + 1 if reach.size else 0  # nothing behind the last hit changes a figure
    portion = max(1, _CELLS // max(1, last))
    parts = [_portion(found, counts[i : i + portion], last) for i in range(0, len(counts), portion)]
    return np.concatenate(parts)


def _portion(found: ClassMatches, counts: NDArray[np.float64], last: int) -> NDArray[np.float64]:
    wanted = counts @ found.wanted
    weights = counts[:, found.images[:last]]
    seen = weights.cumsum(axis=1)
    result = np.empty((len(counts), len(THRESHOLDS)))
    for column in range(len(THRESHOLDS)):
        places = np.flatnonzero(found.hits[:last, column])
        result[:, column] = _precision(weights[:, places], seen[:, places], wanted)
    result[wanted == 0] = np.nan
    return result


def _precision(
    hits: NDArray[np.float64], seen: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """101-point average precision of every draw, from the hits alone: precision only falls between two of them.

    Args:
        hits: ``[draw, hit]``, how often each hit was drawn, strongest first.
        seen: ``[draw, hit]``, detections drawn down to that hit.
        wanted: ``[draw]``, labels drawn.

    """
    found = hits.cumsum(axis=1)
    precision = found / np.maximum(seen, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = found / np.maximum(wanted, 1)[:, None]
    reached = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    fresh = np.diff(reached, axis=1, prepend=0)
    return np.asarray((envelope * fresh).sum(axis=1) / RECALLS.size)
