"""The three forms in which detectors write their predictions, and how a shape tells which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import ceil
from typing import Final

from gistline.errors import ModelRejected

Shape = Sequence[int | str]
"""Dimensions as an ONNX file writes them: numbers, or names of the dynamic ones."""

_STRIDES: Final = (4, 8, 16, 32, 64)
_ANCHORS: Final = 3
_MOST_END_TO_END: Final = 1_000
"""A network that suppresses overlaps itself answers its strongest few hundred boxes, never every cell of its grid."""


class LayoutKind(StrEnum):
    """One image's raw prediction, by the generation of YOLO that introduced it."""

    ANCHOR_FREE = "v8"
    """``[4 + classes, predictions]``: centre x, y, width, height, class scores (YOLOv8, v9, 11)."""
    OBJECTNESS = "v5"
    """``[predictions, 5 + classes]``: centre x, y, width, height, objectness, class scores (YOLOv5, v7)."""
    END_TO_END = "v10"
    """``[predictions, 6]``: left, top, right, bottom, score, class (YOLOv10, 26, or with built-in NMS)."""


_NAMES: Final = {
    LayoutKind.ANCHOR_FREE: "YOLOv8/v9/11",
    LayoutKind.OBJECTNESS: "YOLOv5/v7 with objectness",
    LayoutKind.END_TO_END: "YOLOv10/26 end-to-end",
}
_MASKS: Final = 32
_SEGMENTS: Final = f"; {_MASKS} values more than boxes and scores are what segmentation answers"
UNDERSTOOD: Final = (
    "Understood, for n classes: [batch, 4 + n, predictions] (YOLOv8/v9/11), [batch, predictions, 5 + n] with "
    "objectness (YOLOv5/v7), [batch, predictions, 6] end-to-end (YOLOv10/26); boxes in pixels, scores in 0..1."
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a raw prediction is to be read; ``predictions`` is None where the file leaves their number open."""

    kind: LayoutKind
    classes: int
    predictions: int | None = None

    @property
    def suppressed(self) -> bool:
        """The network has suppressed overlaps itself."""
        return self.kind is LayoutKind.END_TO_END

    @property
    def values(self) -> int:
        """Numbers that one prediction consists of."""
        return {
            LayoutKind.ANCHOR_FREE: 4 + self.classes,
            LayoutKind.OBJECTNESS: 5 + self.classes,
            LayoutKind.END_TO_END: 6,
        }[self.kind]

    @property
    def shape(self) -> tuple[int | str, int | str]:
        """Shape of one image's raw prediction."""
        predictions = self.predictions or "predictions"
        if self.kind is LayoutKind.ANCHOR_FREE:
            return self.values, predictions
        return predictions, self.values

    def fits(self, shape: tuple[int, ...]) -> bool:
        """A raw prediction of this shape can be read so."""
        return len(shape) == 2 and all(
            wanted == got or isinstance(wanted, str) for wanted, got in zip(self.shape, shape, strict=True)
        )

    @property
    def name(self) -> str:
        """The layout in words."""
        return _NAMES[self.kind]

    def __str__(self) -> str:
        return f"{_NAMES[self.kind]} [{self.shape[0]}, {self.shape[1]}]"


@dataclass(frozen=True, slots=True)
class Seen:
    """A layout that fits a shape, and whether its two axes stand the other way round in the file."""

    layout: Layout
    transposed: bool = False


def recognise(
    shape: Shape,
    n_labels: int | None,
    *,
    input_size: tuple[int, int] | None = None,
    wished: LayoutKind | None = None,
) -> Layout:
    """The layout of a raw prediction.

    Args:
        shape: of the output, batch axis first.
        n_labels: number of classes, where it is known.
        input_size: ``(height, width)`` in pixels; it tells how many predictions a grid has.
        wished: what the file or its owner says; it must fit.

    Raises:
        ModelRejected: none fits, or more than one; says what was seen and what is understood.

    """
    seen = look(shape, n_labels, input_size=input_size, wished=wished)
    if seen.transposed:
        raise ModelRejected(
            f"The output {_written(shape)} is {seen.layout} with its axes exchanged.",
            cure="'gistline model add' turns it; or export without the transposition.",
        )
    return seen.layout


def look(
    shape: Shape,
    n_labels: int | None,
    *,
    input_size: tuple[int, int] | None = None,
    wished: LayoutKind | None = None,
) -> Seen:
    """As :func:`recognise`, but a transposed output is recognised too."""
    if len(shape) != 3:
        raise ModelRejected(f"The output {_written(shape)} has {len(shape)} axes instead of 3.", cure=UNDERSTOOD)
    upright = [seen for seen in _fitting(shape[1:], n_labels) if wished in (None, seen.layout.kind)]
    turned = [
        Seen(seen.layout, transposed=True)
        for seen in _fitting(shape[:0:-1], n_labels)
        if wished in (None, seen.layout.kind) and not seen.layout.suppressed
    ]
    grids = _grids(input_size) if input_size else set()
    # One class name too few makes a v8 look like a transposed v5: that takes the right number of predictions too.
    found = upright + [seen for seen in turned if wished or _on_grid(seen.layout, grids)]
    if len(found) > 1:
        found = [seen for seen in found if _likely(seen.layout, grids)] or found
    if not found:
        raise ModelRejected(_mismatch(shape, n_labels, wished), cure=UNDERSTOOD)
    if len(found) > 1:
        ways = " or ".join(f"{seen.layout}{' transposed' if seen.transposed else ''}" for seen in found)
        raise ModelRejected(
            f"The output {_written(shape)} may be {ways}.",
            cure=f"Say which: --layout {' or '.join(sorted({seen.layout.kind.value for seen in found}))}.",
        )
    return found[0]


def classes_by_shape(shape: Shape) -> dict[LayoutKind, int]:
    """How many classes each layout that a shape allows would have, for messages; end-to-end does not tell."""
    if len(shape) != 3:
        return {}
    return {seen.layout.kind: seen.layout.classes for seen in _fitting(shape[1:], None)}


def _fitting(axes: Shape, classes: int | None) -> list[Seen]:
    """Every layout that two axes allow."""
    first, second = axes
    options: list[tuple[LayoutKind, int | None, int | str]] = []
    if isinstance(first, int):
        options.append((LayoutKind.ANCHOR_FREE, first - 4, second))
    if isinstance(second, int):
        options.append((LayoutKind.OBJECTNESS, second - 5, first))
    if second == 6:
        options.append((LayoutKind.END_TO_END, classes, first))
    found = []
    for kind, has, predictions in options:
        if has is None or has < 1 or classes not in (None, has):
            continue
        number = predictions if isinstance(predictions, int) else None
        # Without class names the longer axis is the one of the predictions.
        if classes is None and number is not None and number <= has:
            continue
        found.append(Seen(Layout(kind, has, number)))
    return found


def _likely(layout: Layout, grids: set[int]) -> bool:
    """The number of predictions, where it is known, speaks for this layout."""
    number = layout.predictions
    if number is None:
        return True
    if layout.kind is LayoutKind.END_TO_END:
        return number <= _MOST_END_TO_END and number not in grids and number / _ANCHORS not in grids
    return _on_grid(layout, grids)


def _on_grid(layout: Layout, grids: set[int]) -> bool:
    """As many predictions as a grid has cells, or three anchors a cell in the layouts with objectness."""
    if layout.predictions is None:
        return False
    anchors = _ANCHORS if layout.kind is LayoutKind.OBJECTNESS else 1
    return layout.predictions / anchors in grids


def _grids(input_size: tuple[int, int]) -> set[int]:
    """Cells of every run of two or more neighbouring strides, as heads have them."""
    counts = [ceil(input_size[0] / stride) * ceil(input_size[1] / stride) for stride in _STRIDES]
    return {sum(counts[low:high]) for low, high in combinations(range(len(counts) + 1), 2) if high - low > 1}


def _mismatch(shape: Shape, n_labels: int | None, wished: LayoutKind | None) -> str:
    as_wished = f" and is to be read as {_NAMES[wished]}" if wished else ""
    named = "unnamed classes" if n_labels is None else f"{n_labels} class{'' if n_labels == 1 else 'es'}"
    would = classes_by_shape(shape)
    hint = f" (by its shape: {' or '.join(f'{has} as {_NAMES[kind]}' for kind, has in would.items())})" if would else ""
    masks = n_labels is not None and any(has == n_labels + _MASKS for has in would.values())
    return f"The output {_written(shape)} does not fit {named}{as_wished}{hint}{_SEGMENTS if masks else ''}."


def _written(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"
