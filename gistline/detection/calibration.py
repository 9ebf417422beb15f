"""Are these images fit to calibrate on? Looked at while they go by.

A range can only cover what was shown. Images that are nearly binary, all alike or blank leave ranges that fit them and
nothing else, and the methods of choosing ranges then differ little, whatever a table of them seems to say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_IMAGES: Final = 10
"""Fewer say nothing about ranges."""
FEW_IMAGES: Final = 100
MOST_IMAGES: Final = 500
"""More cost time and change nothing."""
_NEAR_A_LEVEL: Final = 12
"""Grey values within this of one of the two commonest belong to it."""
_BINARY: Final = 0.95
"""Share of pixels near two grey values from which on an image is nearly binary."""
_BLANK: Final = 3.0
"""Standard deviation in grey values below which an image shows nothing."""
_ALIKE: Final = 1.0
"""Mean difference in grey values of two thumbnails below which two images show the same."""
_THUMB: Final = (24, 24)
_NOTEWORTHY: Final = 0.2


@dataclass(slots=True)
class CalibrationCheck:
    """Counts what calibration images look like; ``remarks`` says what a user should know."""

    images: int = 0
    binary: int = 0
    blank: int = 0
    repeated: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _thumbs: list[NDArray[np.float32]] = field(default_factory=list)

    def see(self, image: NDArray[np.uint8]) -> None:
        """Look at one more image, uint8 ``[h, w]`` or ``[h, w, 3]``."""
        self._digest.update(str(image.shape).encode())
        self._digest.update(image.tobytes())
        grey = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        thumb = np.asarray(cv2.resize(grey, _THUMB, interpolation=cv2.INTER_AREA), np.float32)
        self.images += 1
        self.blank += bool(grey.std() < _BLANK)
        self.binary += bool(share_near_two_levels(grey) >= _BINARY)
        self.repeated += any(np.abs(thumb - other).mean() < _ALIKE for other in self._thumbs)
        self._thumbs.append(thumb)

    @property
    def digest(self) -> str:
        """SHA-256 over the pixels of all images, in order."""
        return self._digest.hexdigest()

    def remarks(self) -> list[str]:
        """What is wrong with them, a sentence each; empty when nothing is."""
        found = []
        if self.images < FEW_IMAGES:
            found.append(f"{self.images} images are few: 100 to 500 show what a camera sees in a shift.")
        if self.repeated > _NOTEWORTHY * self.images:
            found.append(f"{self.repeated} of {self.images} images repeat an earlier one: they count as one only.")
        if self.blank > _NOTEWORTHY * self.images:
            found.append(f"{self.blank} of {self.images} images are blank: they show no range.")
        if self.binary > 0.5 * self.images:
            found.append(
                f"{self.binary} of {self.images} images are nearly binary (two grey values hold {_BINARY:.0%} of the "
                "pixels): ranges will fit such images alone. Add grey, noisy ones if cameras deliver any."
            )
        return found


def share_near_two_levels(grey: NDArray[np.uint8]) -> float:
    """Share of an image's pixels that lie near its two commonest grey values."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    share = 0.0
    for _ in range(2):
        peak = int(counts.argmax())
        near = slice(max(0, peak - _NEAR_A_LEVEL), peak + _NEAR_A_LEVEL + 1)
        share += float(counts[near].sum())
        counts[near] = 0
    return share / grey.size
