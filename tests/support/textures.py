"""Pictures that are no boards: enough structure to spread a network's activations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def textures(count: int, side: int = 64) -> list[NDArray[np.uint8]]:
    """Coarse random squares, RGB ``[side, side, 3]`` and grey ``[side, side]`` by turns; the same for each count."""
    random = np.random.default_rng(count)
    coarse = random.integers(0, 255, (count, 8, 8, 3), np.uint8)
    images = [np.kron(one, np.ones((side // 8, side // 8, 1), np.uint8)) for one in coarse]
    return [image[..., 0].copy() if index % 2 else image for index, image in enumerate(images)]
