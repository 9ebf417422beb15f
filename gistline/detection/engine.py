"""What the rest of the product knows of a runtime: images in, candidates out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates
from gistline.detection.model_file import ModelFile
from gistline.domain import EngineInfo
from gistline.errors import ModelRejected

Image = NDArray[np.uint8]
"""uint8 ``[height, width]`` grey or ``[height, width, 3]`` RGB, of any size."""

_LEAST_INT8_SHARE: Final = 0.5
"""Below this share of the quantised convolutions an engine would be an INT8 engine in name only."""


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


def refuse_silent_fallback(model: ModelFile, info: EngineInfo) -> None:
    """Refuse an engine that runs in float what its model holds in eight bits; one that does not tell is believed.

    Raises:
        ModelRejected: fewer than half of the quantised convolutions run in INT8.

    """
    quantised, running = model.quantised_convolutions, info.int8_convolutions
    if info.layer_precisions and running < _LEAST_INT8_SHARE * quantised:
        raise ModelRejected(
            f"{model.name} holds {quantised} quantised convolutions, of which {info.runtime} runs only {running} in "
            f"INT8 on {info.device}.",
            cure="Quantise it for this runtime (gistline model quantise --target ...), or run the fp32 model.",
        )
