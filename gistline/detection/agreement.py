"""Do two detectors see the same on the same pictures? What can be measured where nobody labels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.bootstrap import Draws, estimate
from gistline.detection.evaluation import ious
from gistline.domain import Detection, Estimate

SAME_IOU: Final = 0.5
RESAMPLES: Final = 1_000
SEED: Final = 20_261_126

Pair = tuple[Sequence[Detection], Sequence[Detection]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """``share`` of all findings of both that have a partner; ``shift`` is the mean confidence of the first's partners
    minus the second's. Both None where neither found anything. ``findings`` are those of both together.
    """

    images: int
    findings: int
    share: Estimate | None
    shift: Estimate | None


def agreement(pairs: Sequence[Pair]) -> Agreement:
    """Hold two detectors' findings on the same images against each other.

    Partners are of the same class and overlap by an IoU of 0.5 or more; the share is Dice's, twice the pairs among all
    findings. Intervals are bootstraps over whole images (:mod:`gistline.detection.bootstrap`).
    """
    counts = np.array([_of_image(*pair) for pair in pairs], np.float64).reshape(-1, 3)
    partners, findings, shifts = counts.T
    total = int(findings.sum())
    if not total:
        return Agreement(len(pairs), 0, None, None)
    draws = Draws.make(len(pairs), resamples=RESAMPLES, seed=SEED).counts
    matched = draws @ partners
    return Agreement(
        len(pairs),
        total,
        estimate(_ratio(2 * matched, draws @ findings)),
        estimate(_ratio(draws @ shifts, matched)) if partners.any() else None,
    )


def _of_image(first: Sequence[Detection], second: Sequence[Detection]) -> tuple[int, int, float]:
    """Pairs, findings of both, and the sum of the pairs' differences in confidence."""
    pairs, shift = 0, 0.0
    for label in {one.label for one in first}:
        ours = sorted((one for one in first if one.label == label), key=lambda one: -one.confidence)
        theirs = [one for one in second if one.label == label]
        if not theirs:
            continue
        overlaps = ious([one.box for one in ours], [one.box for one in theirs])
        for row, one in zip(overlaps, ours, strict=True):
            best = int(row.argmax())
            if row[best] >= SAME_IOU:
                pairs, shift = pairs + 1, shift + one.confidence - theirs[best].confidence
                overlaps[:, best] = -1.0
    return pairs, len(first) + len(second), shift


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
