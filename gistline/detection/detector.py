"""Images in, detections out: the one class that the flows call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gistline.detection.engine import Engine
from gistline.detection.model_file import load_model
from gistline.detection.postprocess import Limits, decode
from gistline.detection.preprocess import PAD_VALUE, Geometry, letterbox
from gistline.domain import Detection, EngineInfo
from gistline.settings import DetectionSettings


class Detector:
    """An engine with its preprocessing and postprocessing.

    ``detect`` may be called from several threads at once; they share the engine's streams. ``close`` ends it for all.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._engine.info

    @property
    def in_flight(self) -> int:
        """Images that the engine works on at once."""
        return self._engine.in_flight

    def detect(self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None) -> list[list[Detection]]:
        """Detections of each image, strongest first, boxes in its own pixels.

        Args:
            images: uint8, ``[height, width]`` grey or ``[height, width, 3]`` RGB, of any sizes. They are drawn one by
                one while earlier ones are being inferred, so a generator that decodes costs no extra time.
            min_confidence: takes the place of the setting for this call.

        Raises:
            EngineUnavailable: the runtime failed or answered nonsense; no image of the call counts as inspected.
            ValueError: an image has another shape or dtype.

        """
        limits = self._limits if min_confidence is None else replace(self._limits, min_confidence=min_confidence)
        geometries: deque[Geometry] = deque()
        labels = self.info.labels

        def inputs() -> Iterator[NDArray[np.uint8]]:
            for image in images:
                boxed, geometry = letterbox(image, self.info.input_size)
                geometries.append(geometry)
                yield boxed

        return [
            decode(prediction, geometries.popleft(), labels=labels, limits=limits)
            for prediction in self._engine.stream(inputs())
        ]

    def warm_up(self) -> None:
        """Infer one grey image on every stream, so that the first real one does not pay for their set-up.

        Raises:
            EngineUnavailable: the runtime failed or answered nonsense.

        """
        grey = np.full((*self.info.input_size, 3), PAD_VALUE, np.uint8)
        self.detect([grey] * self.in_flight)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_detector(settings: DetectionSettings) -> Detector:
    """Load the model and compile it for this machine.

    Raises:
        ModelRejected: the file is missing or does not fit, or an INT8 model would not run in INT8.
        EngineUnavailable: the runtime cannot be loaded.

    """
    # Loaded here, not at import: a process that never detects (the API) needs no runtime installed.
    from gistline.detection.openvino_engine import OpenVinoEngine

    model = load_model(settings)
    engine = OpenVinoEngine(model, streams=settings.streams)
    return Detector(engine, Limits(settings.min_confidence, settings.nms_iou, settings.max_detections))
