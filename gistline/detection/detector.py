"""Images in, detections out: the one class that the flows call."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from importlib.util import find_spec
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gistline.detection.engine import Engine
from gistline.detection.layouts import Layout
from gistline.detection.model_file import ModelFile, load_model
from gistline.detection.postprocess import Limits, to_detections
from gistline.detection.preprocess import PAD_VALUE
from gistline.detection.trial import try_out
from gistline.domain import Detection, EngineInfo
from gistline.errors import GistlineError
from gistline.settings import DetectionSettings


class Detector:
    """An engine with its preprocessing and postprocessing.

    ``detect`` may be called from several threads at once; they share the engine's streams. ``close`` ends it for all.
    """

    def __init__(self, engine: Engine, limits: Limits, *, suppressed: bool = False) -> None:
        """``suppressed``: the network suppresses overlaps itself (its layout says so), so the NMS is left out."""
        self._engine = engine
        self._limits = limits
        self._suppressed = suppressed

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._engine.info

    @property
    def engine(self) -> Engine:
        """The engine itself, for benchmarks and measurements."""
        return self._engine

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
        return list(self.detect_each(images, min_confidence))

    def detect_each(
        self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None
    ) -> Generator[list[Detection], None, None]:
        """:meth:`detect`, one image's detections at a time, in order, as soon as they are there."""
        limits = self._limits if min_confidence is None else replace(self._limits, min_confidence=min_confidence)
        labels = self.info.labels
        for candidates in self._engine.stream(images, limits.min_confidence):
            yield to_detections(candidates, labels=labels, limits=limits, suppressed=self._suppressed)

    def warm_up(self) -> None:
        """Infer one grey image on every stream, so that the first real one does not pay for their set-up.

        Raises:
            EngineUnavailable: the runtime failed or answered nonsense.

        """
        grey = np.full((*self.info.input_size, 3), PAD_VALUE, np.uint8)
        self.detect([grey] * self.in_flight)

    def try_out(self, layout: Layout) -> int:
        """Examine the answers to test images; how many predictions the network makes of an image.

        Raises:
            ModelRejected: scores or boxes are not what the layout says.
            EngineUnavailable: the runtime failed or answered nonsense.

        """
        return try_out(self._engine, layout)

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
    """Load the model that the settings name and compile it for this machine.

    Raises:
        ModelRejected: the file is missing or does not fit, answers test images with what its layout cannot mean, or
            would not run in INT8 though it is quantised.
        EngineUnavailable: the runtime cannot be loaded.

    """
    model = load_model(settings)
    detector = open_model(model, settings)
    if settings.model:
        try:
            detector.try_out(model.layout)
        except GistlineError:
            detector.close()
            raise
    return detector


def open_model(model: ModelFile, settings: DetectionSettings) -> Detector:
    """Compile a checked model for this machine, in the runtime that the settings name.

    Raises:
        ModelRejected: the file does not compile, or an INT8 model would not run in INT8.
        EngineUnavailable: the runtime cannot be loaded.

    """
    limits = Limits(settings.min_confidence, settings.nms_iou, settings.max_detections)
    return Detector(_open_engine(model, settings), limits, suppressed=model.layout.suppressed)


def _open_engine(model: ModelFile, settings: DetectionSettings) -> Engine:
    # Runtimes are loaded here, not at import: a process that never detects (the API) needs none installed.
    if settings.runtime == "tensorrt" or (settings.runtime == "auto" and _gpu_ready()):
        from gistline.detection.tensorrt_engine import open_engine

        return open_engine(model, settings)
    from gistline.detection.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(model, streams=settings.streams)


def _gpu_ready() -> bool:
    """The GPU's packages are installed and answer; they are asked only where both are there."""
    if not all(find_spec(package) for package in ("tensorrt", "pycuda")):
        return False
    from gistline.detection.tensorrt_engine import available

    return available() is None
