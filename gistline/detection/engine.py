"""What the rest of the product knows of a runtime: images in, candidates out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates
from gistline.domain import EngineInfo

Image = NDArray[np.uint8]
"""uint8 ``[height, width]`` grey or ``[height, width, 3]`` RGB, of any size."""


class Engine(Protocol):
    """A compiled detector with its preprocessing and the filter of what it proposes.

    Every method may be called from several threads at once; all raise :class:`~gistline.errors.EngineUnavailable` when
    the runtime fails or answers nonsense (NaN, infinity, another shape).
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
        """The bare network, for benchmarks and tests.

        uint8 RGB ``[n, height, width, 3]`` of ``info.input_size`` -> float32, the raw predictions as the network
        wrote them, batch axis first.
        """
        ...

    def stream(self, images: Iterable[Image], min_confidence: float) -> Iterator[Candidates]:
        """Letterbox, infer and filter; yield one result an image, in order.

        The next images are drawn from the iterable while earlier ones are being inferred, so work done in a generator
        overlaps with inference. An image must not be changed before its candidates came.

        Raises:
            ValueError: an image has another shape or dtype.

        """
        ...

    def close(self) -> None:
        """Free the runtime; the engine cannot be used afterwards."""
        ...
