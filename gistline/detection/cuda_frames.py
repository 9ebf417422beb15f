"""Frames of a batch laid out for the GPU: their pixels one behind the other, and a table of how each is to be scaled.

Pure numpy. The kernel that reads both is ``cuda/letterbox.cu``.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.preprocess import AREA_BELOW, Geometry, fit, refuse_other_than_images

FRAME: Final = np.dtype(
    [
        ("scale_x", "<f8"),
        ("scale_y", "<f8"),
        ("offset", "<u8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("channels", "<i4"),
        ("new_width", "<i4"),
        ("new_height", "<i4"),
        ("pad_x", "<i4"),
        ("pad_y", "<i4"),
        ("mode", "<i4"),
    ],
    align=True,
)
"""``struct Frame`` of letterbox.cu, member by member."""
ALIGNMENT: Final = 256
"""Bytes. Every frame starts on a boundary at which the GPU's memory is read."""
_WORTH_SHARING: Final = 4 * 2**20
"""Bytes in a batch below which threads cost more than they save."""
_EPSILON: Final = float(np.finfo(np.float64).eps)


class Mode(IntEnum):
    """How a frame is scaled; ``AREA_WHOLE`` averages whole pixels, ``AREA`` parts of pixels too."""

    COPY = 0
    LINEAR = 1
    AREA_WHOLE = 2
    AREA = 3


@dataclass(frozen=True, slots=True)
class FrameTable:
    """``rows``: one of :data:`FRAME` a frame. ``size``: bytes that the pixels of all of them take."""

    rows: NDArray[np.void]
    geometries: tuple[Geometry, ...]
    size: int


def room_for(image: NDArray[np.uint8]) -> int:
    """Bytes that one image takes in the buffer of a batch."""
    return -(-image.nbytes // ALIGNMENT) * ALIGNMENT


def describe(images: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> FrameTable:
    """The table of a batch for an input of ``size`` (height, width).

    Raises:
        ValueError: an image is not uint8 ``[height, width]`` or ``[height, width, 3]``.

    """
    rows = np.zeros(len(images), FRAME)
    geometries = []
    offset = 0
    for row, image in zip(rows, images, strict=True):
        refuse_other_than_images(image)
        geometries.append(_fill(row, image, size))
        row["offset"] = offset
        offset += room_for(image)
    return FrameTable(rows, tuple(geometries), offset)


def pack(
    images: Sequence[NDArray[np.uint8]],
    table: FrameTable,
    buffer: NDArray[np.uint8],
    helpers: Executor | None = None,
) -> None:
    """Copy the pixels of a batch to their places in ``buffer``, one-dimensional and of ``table.size`` bytes or more.

    ``helpers`` copy several frames at once where there is enough to copy: numpy lets go of the interpreter meanwhile.
    """

    def copy(offset: int, image: NDArray[np.uint8]) -> None:
        buffer[offset : offset + image.nbytes].reshape(image.shape)[...] = image

    offsets = table.rows["offset"].tolist()
    shared = helpers is not None and len(images) > 1 and table.size >= _WORTH_SHARING
    # Exhausted here, so that an error in a helper is raised here too.
    for _ in (helpers.map if helpers is not None and shared else map)(copy, offsets, images):
        pass


def _fill(row: np.void, image: NDArray[np.uint8], size: tuple[int, int]) -> Geometry:
    height, width = image.shape[:2]
    geometry, (new_height, new_width) = fit(height, width, size)
    # Twice inverted, as OpenCV does: the last bit decides which pixel a border case reads.
    scale_x, scale_y = 1 / (new_width / width), 1 / (new_height / height)
    row["scale_x"], row["scale_y"] = scale_x, scale_y
    row["width"], row["height"], row["channels"] = width, height, 1 if image.ndim == 2 else 3
    row["new_width"], row["new_height"] = new_width, new_height
    row["pad_x"], row["pad_y"] = geometry.pad_x, geometry.pad_y
    row["mode"] = _mode(geometry, scale_x, scale_y)
    return geometry


def _mode(geometry: Geometry, scale_x: float, scale_y: float) -> Mode:
    """What OpenCV does with this scale: a bilinear half is an average of 2 x 2 to it."""
    if geometry.scale_x == geometry.scale_y == 1:
        return Mode.COPY
    whole = abs(scale_x - round(scale_x)) < _EPSILON and abs(scale_y - round(scale_y)) < _EPSILON
    if min(geometry.scale_x, geometry.scale_y) < AREA_BELOW:
        return Mode.AREA_WHOLE if whole else Mode.AREA
    return Mode.AREA_WHOLE if whole and round(scale_x) == round(scale_y) == 2 else Mode.LINEAR
