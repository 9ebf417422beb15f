"""Findings drawn into a copy of their image, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.domain import Detection

_COLOURS: Final = (
    (213, 94, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
"""Okabe and Ito's palette, RGB: told apart by colour-blind readers too, on light and dark boards."""
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def draw(image: NDArray[np.uint8], detections: Sequence[Detection], *, labels: Sequence[str] = ()) -> NDArray[np.uint8]:
    """Copy an image and draw each detection's box, class and confidence.

    Args:
        image: uint8, ``[height, width]`` grey or ``[height, width, 3]`` RGB.
        detections: boxes in its pixels; the strongest is drawn last, on top.
        labels: all classes of the detector, so that a class keeps its colour from image to image.

    Returns:
        uint8 ``[height, width, 3]`` RGB.

    """
    canvas = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()
    names = list(labels) or sorted({found.label for found in detections})
    thickness = max(1, round(max(image.shape[:2]) / 640))
    for found in sorted(detections, key=lambda one: one.confidence):
        colour = _COLOURS[names.index(found.label) % len(_COLOURS)] if found.label in names else _COLOURS[0]
        _draw_one(canvas, found, colour=colour, thickness=thickness)
    return canvas


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """uint8 ``[height, width, 3]`` RGB -> PNG bytes."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes()


def _draw_one(canvas: NDArray[np.uint8], found: Detection, *, colour: tuple[int, int, int], thickness: int) -> None:
    left, top = round(found.box.x), round(found.box.y)
    right, bottom = round(found.box.x + found.box.w), round(found.box.y + found.box.h)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, 2 * thickness)
    text = f"{found.label} {found.confidence:.2f}"
    (width, height), base = cv2.getTextSize(text, _FONT, 0.45 * thickness, thickness)
    tag_left = max(0, min(left, canvas.shape[1] - width))
    tag_bottom = top if top >= height + base else min(canvas.shape[0], bottom + height + base)
    cv2.rectangle(canvas, (tag_left, tag_bottom - height - base), (tag_left + width, tag_bottom), colour, cv2.FILLED)
    # Black or white, whichever stands out from the tag (ITU-R BT.601 luma).
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = (0, 0, 0) if luma > 128 else (255, 255, 255)
    cv2.putText(canvas, text, (tag_left, tag_bottom - base), _FONT, 0.45 * thickness, ink, thickness, cv2.LINE_AA)
