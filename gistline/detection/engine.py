"""What the rest of the product knows of a runtime: images in, raw predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gistline.domain import EngineInfo


class Engine(Protocol):
    """A compiled detector.

    Images are uint8 RGB, height x width x 3, letterboxed to ``info.input_size``. A prediction is float32
    ``[4 + classes, anchors]``: rows 0-3 are box centre x, y, width and height in pixels of the input, the others class
    scores in [0, 1]. Every method may be called from several threads at once; all raise
    :class:`~gistline.errors.EngineUnavailable` when the runtime fails.
    """

    @property
    def info(self) -> EngineInfo:
        """What really runs, read from the compiled model."""
        ...

    @property
    def in_flight(self) -> int:
        """Images that it works on at once; fewer leave a part of the hardware idle."""
        ...

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[n, height, width, 3]`` -> ``[n, 4 + classes, anchors]``."""
        ...

    def stream(self, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
        """Yield one prediction an image, in order.

        The next images are drawn from the iterable while earlier ones are being inferred, so work done in a generator
        overlaps with inference. An image must not be changed before its prediction came.
        """
        ...

    def close(self) -> None:
        """Free the runtime; the engine cannot be used afterwards."""
        ...
