"""A network's answers to two test images: do they mean what its layout says?

Shapes cannot tell whether the sigmoid is missing or boxes are in shares of the image; such a model would run and find
nothing, or everything in one corner.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import select
from gistline.detection.engine import Engine
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.preprocess import PAD_VALUE
from gistline.errors import ModelRejected

_SEED: Final = 640
_LEAST_SCORE, _HIGHEST_SCORE = -0.001, 1.01
_SHARE: Final = 2.0
"""Boxes that all lie below this are shares of the image: in pixels, the grid alone reaches further."""
_ENOUGH: Final = 16
"""So many predictions are never by chance all of a form."""


def try_out(engine: Engine, layout: Layout) -> int:
    """Infer two test images and examine the answers.

    Returns:
        How many predictions the network makes of an image.

    Raises:
        ModelRejected: scores or boxes are not what the layout says; tells what was seen.
        EngineUnavailable: the answers hold NaN or infinity, or are of another shape.

    """
    raws = engine.infer(pictures(engine.info.input_size))
    for raw in raws:
        select(raw, layout, 1.0)
    try:
        examine(np.concatenate([_rows(raw, layout) for raw in raws]), layout, engine.info.input_size)
    except ModelRejected as error:
        raise ModelRejected(f"{engine.info.model}: {error.message}", cure=error.cure) from error
    return int(raws.shape[2] if layout.kind is LayoutKind.ANCHOR_FREE else raws.shape[1])


def pictures(size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 ``[2, height, width, 3]``: plain grey, and coloured blocks that are always the same."""
    random = np.random.default_rng(_SEED)
    coarse = random.integers(0, 256, (size[0] // 16 + 1, size[1] // 16 + 1, 3), np.uint8)
    blocks = coarse.repeat(16, axis=0).repeat(16, axis=1)[: size[0], : size[1]]
    return np.stack([np.full_like(blocks, PAD_VALUE), blocks])


def examine(rows: NDArray[np.float32], layout: Layout, size: tuple[int, int]) -> None:
    """Refuse predictions ``[n, values]`` that do not mean what the layout says.

    Raises:
        ModelRejected: says what was seen.

    """
    scores = rows[:, 4:5] if layout.suppressed else rows[:, 4:]
    if layout.suppressed:
        _refuse_classes(rows[:, 5], layout.classes)
    _refuse_scores(scores)
    boxes = rows[:, :4]
    # Rows of zeros are places that built-in NMS left empty.
    boxes = boxes[boxes.any(axis=1)] if layout.suppressed else boxes
    if len(boxes):
        _refuse_shares(boxes, size)
        _refuse_form(boxes, corners=layout.suppressed)


def _rows(raw: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    return raw.T if layout.kind is LayoutKind.ANCHOR_FREE else raw


def _refuse_scores(scores: NDArray[np.float32]) -> None:
    low, high = float(scores.min(initial=0)), float(scores.max(initial=0))
    if low < _LEAST_SCORE or high > _HIGHEST_SCORE:
        raise ModelRejected(
            f"Scores from {low:.3g} to {high:.3g} were seen on a test image; they lie in 0..1.",
            cure="Export with the sigmoid as the last step of the scores, or check the layout (--layout).",
        )


def _refuse_classes(classes: NDArray[np.float32], count: int) -> None:
    strange = classes[(classes != np.rint(classes)) | (classes < -1) | (classes >= count)]
    if strange.size:
        raise ModelRejected(
            f"Class {strange[0]:.4g} was seen on a test image where one of 0..{count - 1} belongs.",
            cure="Understood: left, top, right, bottom, score, class, in this order; check labels and layout.",
        )


def _refuse_shares(boxes: NDArray[np.float32], size: tuple[int, int]) -> None:
    largest = float(np.abs(boxes).max())
    if largest <= _SHARE < min(size):
        raise ModelRejected(
            f"Boxes of at most {largest:.3g} were seen in an input of {size[0]} x {size[1]} pixels: shares of the "
            "image.",
            cure="Export with boxes in pixels of the input.",
        )


def _refuse_form(boxes: NDArray[np.float32], *, corners: bool) -> None:
    """Right and bottom never lie before left and top; width and height are often less than the centre's place."""
    ordered = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
    if corners and ordered.mean() < 0.5:
        raise ModelRejected(
            f"{(~ordered).mean():.0%} of the boxes seen on a test image end before they begin: they are no corners.",
            cure="Understood in this layout: left, top, right, bottom. Check it (--layout).",
        )
    if not corners and len(boxes) >= _ENOUGH and ordered.all():
        raise ModelRejected(
            f"All {len(boxes)} boxes seen on a test image look like left, top, right, bottom.",
            cure="Understood in this layout: centre x, centre y, width, height.",
        )
