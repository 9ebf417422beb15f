"""What an image looks like in three numbers, for telling whether a camera's light or focus has changed."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

STATISTICS: Final = ("brightness", "contrast", "sharpness")
_LONGEST: Final = 640
"""Larger images are measured at this size: noise of single pixels is no focus."""


def look(image: NDArray[np.uint8]) -> dict[str, float]:
    """Measure an image, uint8 ``[h, w]`` or ``[h, w, 3]`` RGB.

    Returns:
        ``brightness``, the mean, and ``contrast``, the standard deviation, both in grey values of 0 to 255;
        ``sharpness``, the binary logarithm of the Laplacian's standard deviation: 1 less is half as sharp.

    """
    grey = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    scale = _LONGEST / max(grey.shape)
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.log2(max(float(edges.std()), 0.01))),
    }
