"""A detector that does what its frames say: the colour of the first pixel is an order.

A real worker process runs it in place of a model: it has the detector's shape, takes real images and answers, waits,
raises or dies. Run as a script it is a detect worker: ``python tests/support/twin_detector.py``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Generator, Iterable
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gistline.detection.model_file import ModelFile
from gistline.domain import Box, Detection, EngineInfo
from gistline.errors import EngineUnavailable
from gistline.settings import DetectionSettings, load_settings
from workers.__main__ import run_detect, set_up_logging

FRAME_MS = "TWIN_FRAME_MS"
GATE = "TWIN_GATE"
"""Path of a file: while it exists, no frame is looked at."""


class Order(IntEnum):
    """First pixel's grey value: what the detector does with the frame."""

    CLEAN = 10
    DEFECT = 20
    RAISE = 30
    KILL = 40
    BREAK = 50
    HOG = 60


class TwinDetector:
    """Looks at one frame after the other, ``frame_ms`` milliseconds each."""

    def __init__(self, frame_ms: float = 0.0, gate: Path | None = None) -> None:
        self._frame_s = frame_ms / 1000
        self._gate = gate
        self.seen: list[int] = []

    @property
    def info(self) -> EngineInfo:
        """What it says it is."""
        return EngineInfo("twin", "0" * 64, "twin", "CPU", "FP32", ("open", "short"), (64, 64), 1, 0)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""

    def detect(self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None) -> list[list[Detection]]:
        """Carry out each frame's order."""
        return list(self.detect_each(images, min_confidence))

    def detect_each(
        self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None
    ) -> Generator[list[Detection], None, None]:
        """Carry out each frame's order, one after the other."""
        for image in images:
            yield self._look(image)

    def _look(self, image: NDArray[np.uint8]) -> list[Detection]:
        order = int(image.reshape(-1)[0])
        self.seen.append(order)
        time.sleep(self._frame_s)
        while self._gate is not None and self._gate.exists():
            time.sleep(0.005)
        if order == Order.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if order == Order.RAISE:
            raise RuntimeError("this frame was told to raise")
        if order == Order.BREAK:
            raise EngineUnavailable("this frame was told to break the engine")
        return [Detection("open", 0.9, Box(8, 8, 4, 4))] if order == Order.DEFECT else []


def open_twin(_model: ModelFile, _settings: DetectionSettings) -> TwinDetector:
    """Opened like the real one; its speed and its gate come from the environment."""
    gate = os.environ.get(GATE)
    return TwinDetector(float(os.environ.get(FRAME_MS, "0")), Path(gate) if gate else None)


if __name__ == "__main__":
    told = load_settings()
    set_up_logging("info", told)
    sys.exit(run_detect(told, open_twin))
