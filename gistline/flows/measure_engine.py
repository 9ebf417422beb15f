"""How fast the bare engine is on real frames, for a figure to hold the fleet's against."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from gistline.detection.detector import Detector


def engine_rate(detector: Detector, images: Sequence[NDArray[np.uint8]], *, seconds: float = 3.0) -> float:
    """Frames a second of preprocessing, inference and NMS on decoded frames in memory, over ``seconds``.

    Args:
        detector: warmed up.
        images: uint8, ``[height, width]`` grey or ``[height, width, 3]`` RGB; taken in turn, at least one.
        seconds: how long images are fed; what is in flight then is finished and counted.

    """
    fed = 0

    def feed() -> Iterator[NDArray[np.uint8]]:
        nonlocal fed
        deadline = time.perf_counter() + seconds
        for image in cycle(images):
            if time.perf_counter() >= deadline:
                return
            fed += 1
            yield image

    begun = time.perf_counter()
    detector.detect(feed())
    return fed / (time.perf_counter() - begun)
