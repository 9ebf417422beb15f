"""Images of any size -> the detector's input, and the way back for boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

PAD_VALUE: Final = 114
"""Grey of the border, the one that ultralytics trains with."""
AREA_BELOW: Final = 0.5
"""Bilinear sampling looks at 2 x 2 pixels: below half size it skips some, and with them a hair-line defect."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an image lies in the input: scaled by ``scale_x``, ``scale_y``, then moved by ``pad_x``, ``pad_y`` pixels.

    ``width`` and ``height`` are the original's, in pixels.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    pad_x: int
    pad_y: int


def letterbox(image: NDArray[np.uint8], size: tuple[int, int]) -> tuple[NDArray[np.uint8], Geometry]:
    """Scale an image to fit, keep its aspect ratio, centre it on grey.

    Args:
        image: uint8, ``[height, width]`` grey or ``[height, width, 3]`` RGB.
        size: ``(height, width)`` of the detector's input.

    Returns:
        uint8 ``[size[0], size[1], 3]``, C-contiguous, and the geometry. An RGB image that already fits is returned as
        it is, not copied.

    Raises:
        ValueError: another shape or dtype, which is a mistake of the caller's.

    """
    refuse_other_than_images(image)
    geometry, (height, width) = fit(image.shape[0], image.shape[1], size)
    if (height, width) != image.shape[:2]:
        shrunk = min(geometry.scale_x, geometry.scale_y) < AREA_BELOW
        image = _u8(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_LINEAR))
    if image.ndim == 2:
        image = _u8(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
    if (height, width) == size:
        return np.ascontiguousarray(image), geometry
    canvas = np.full((*size, 3), PAD_VALUE, np.uint8)
    canvas[geometry.pad_y : geometry.pad_y + height, geometry.pad_x : geometry.pad_x + width] = image
    return canvas, geometry


def refuse_other_than_images(image: NDArray[np.uint8]) -> None:
    """Check dtype and shape.

    Raises:
        ValueError: not uint8, neither ``[height, width]`` nor ``[height, width, 3]``, or empty.

    """
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise ValueError(f"an image is uint8 [h, w] or [h, w, 3], not {image.dtype} {list(image.shape)}")


def fit(height: int, width: int, size: tuple[int, int]) -> tuple[Geometry, tuple[int, int]]:
    """How an image of ``height`` x ``width`` pixels goes into an input of ``size``.

    Returns:
        The geometry, and ``(height, width)`` of the scaled image, at least one pixel each.

    """
    ratio = min(size[0] / height, size[1] / width)
    new_height, new_width = max(1, round(height * ratio)), max(1, round(width * ratio))
    geometry = Geometry(
        width=width,
        height=height,
        scale_x=new_width / width,
        scale_y=new_height / height,
        pad_x=(size[1] - new_width) // 2,
        pad_y=(size[0] - new_height) // 2,
    )
    return geometry, (new_height, new_width)


def _u8(image: object) -> NDArray[np.uint8]:
    """OpenCV's stubs promise less than it returns."""
    return np.asarray(image, dtype=np.uint8)
