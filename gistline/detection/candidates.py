"""From a raw prediction to the few boxes worth looking at: the reference for every runtime, in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.preprocess import Geometry
from gistline.errors import EngineUnavailable

MOST_CANDIDATES: Final = 3_000
"""Most candidates of one image. Neighbours answer to one object, and the NMS is quadratic in their number."""

Selected = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]
"""Boxes ``[n, 4]``, scores ``[n]`` and classes ``[n]``: the arrays of :class:`Candidates`."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a network proposes for one image, before overlaps are suppressed.

    ``boxes``: float32 ``[n, 4]``, centre x, centre y, width, height in pixels of the network's input. ``scores``:
    float32 ``[n]``, at or above the threshold asked for, strongest first. ``classes``: int32 ``[n]``, indices of
    ``EngineInfo.labels``. ``geometry``: how the image lay in the input.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    geometry: Geometry


def select(raw: NDArray[np.float32], layout: Layout, min_confidence: float) -> Selected:
    """Boxes whose score reaches the threshold, strongest first; of equal ones the first in the prediction.

    Args:
        raw: float32, one image's prediction as the network wrote it, without the batch axis.
        layout: how it is to be read.
        min_confidence: least score, in [0, 1], compared as float32; the score is the best class's, times the
            objectness where there is one.

    Returns:
        At most :data:`MOST_CANDIDATES` boxes (centre and size), scores and classes; copies, never views of ``raw``.

    Raises:
        EngineUnavailable: NaN or infinity anywhere, another shape, or a class that does not exist: nothing was
            looked at.

    """
    _refuse_nonsense(raw, layout)
    if layout.kind is LayoutKind.ANCHOR_FREE:
        return _anchor_free(raw, min_confidence)
    if layout.kind is LayoutKind.OBJECTNESS:
        return _objectness(raw, min_confidence)
    return _end_to_end(raw, min_confidence, classes=layout.classes)


def _anchor_free(raw: NDArray[np.float32], min_confidence: float) -> Selected:
    scores = raw[4:].max(axis=0)
    chosen = _strongest(scores, min_confidence)
    # Only the columns chosen are looked at again.
    classes = raw[4:, chosen].argmax(axis=0).astype(np.int32)
    return np.ascontiguousarray(raw[:4, chosen].T), scores[chosen], classes


def _objectness(raw: NDArray[np.float32], min_confidence: float) -> Selected:
    # No class score exceeds 1, so a weak objectness settles it; the margin is for roundings above 1.
    rows = raw[np.flatnonzero(raw[:, 4] >= np.float32(0.99 * min_confidence))]
    classes = rows[:, 5:].argmax(axis=1).astype(np.int32)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + classes]
    chosen = _strongest(scores, min_confidence)
    return rows[chosen, :4], scores[chosen], classes[chosen]


def _end_to_end(raw: NDArray[np.float32], min_confidence: float, *, classes: int) -> Selected:
    rows = raw[_strongest(raw[:, 4], min_confidence)]
    indices = np.rint(rows[:, 5]).astype(np.int32)
    wrong = indices[(indices < 0) | (indices >= classes)]
    if wrong.size:
        raise EngineUnavailable(
            f"The detector answered class {wrong[0]}, of {classes} that it names.",
            cure="Take a model file whose output matches its class names.",
        )
    low, high = rows[:, :2], rows[:, 2:4]
    return np.concatenate([(low + high) / 2, high - low], axis=1), rows[:, 4], indices


def _strongest(scores: NDArray[np.float32], min_confidence: float) -> NDArray[np.intp]:
    above = np.flatnonzero(scores >= np.float32(min_confidence))
    return above[np.argsort(-scores[above], kind="stable")][:MOST_CANDIDATES]


def _refuse_nonsense(raw: NDArray[np.float32], layout: Layout) -> None:
    if not layout.fits(raw.shape):
        wanted = ", ".join(map(str, layout.shape))
        raise EngineUnavailable(
            f"The detector answered {list(raw.shape)} instead of [{wanted}].",
            cure="Take a model file whose output matches its class names.",
        )
    if not np.isfinite(raw).all():
        refuse_not_finite()


def refuse_not_finite() -> None:
    """Raise what a prediction with NaN or infinity deserves.

    Raises:
        EngineUnavailable: always.

    """
    raise EngineUnavailable(
        "The detector answered NaN or infinity, so the image was not looked at.",
        cure="Run the fp32 model; if it does the same, the model file is damaged.",
    )
