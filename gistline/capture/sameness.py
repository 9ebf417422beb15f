"""Whether a picture shows what the last one did, cell by cell."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 64


class Sameness:
    """Compares each picture with the last one that was taken, so that slow changes add up.

    A picture is the same when no cell of a 64 x 64 grid differs by more than ``levels`` grey levels (0 to 255) on
    average; 0 or less takes everything. The greatest difference counts, not the mean of all cells, since what is
    looked for may be small: a spot that covers a tenth of a cell and differs by 50 levels changes that cell by 5.
    """

    def __init__(self, levels: float) -> None:
        self.levels = levels
        self._last: NDArray[np.int16] | None = None
        self._now: NDArray[np.int16] | None = None

    def is_same(self, data: bytes) -> bool:
        """Whether an encoded image may be skipped; one that cannot be read never is, for the API to judge it."""
        self._now = _cells(data) if self.levels > 0 else None
        if self._last is None or self._now is None:
            return False
        return bool(np.abs(self._now - self._last).max() <= self.levels)

    def taken(self) -> None:
        """The picture asked about last is kept: the next ones are compared with it."""
        if self._now is not None:
            self._last = self._now


def _cells(data: bytes) -> NDArray[np.int16] | None:
    try:
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return None
    if grey is None:
        return None
    return cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.int16)
