"""The detect worker of the chaos runs: a detector whose answer anybody can work out from the picture alone.

Run as a module it is a detect worker: ``python -m tests.chaos.detector``.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np
from numpy.typing import NDArray

from gistline.detection.model_file import ModelFile
from gistline.domain import Box, Detection
from gistline.settings import DetectionSettings, load_settings
from tests.support.twin_detector import FRAME_MS, Order, TwinDetector
from workers.__main__ import run_detect, set_up_logging

HOG_STEP = 16 * 1024 * 1024
HOG_STEPS = 48


def answer(order: Order, number: int) -> list[Detection]:
    """What the detector says of ``picture(order, number)``: one to three boxes of a defect, nothing of a clean one."""
    if order is not Order.DEFECT:
        return []
    # Binary fractions, so that they come back from the database as they went in.
    return [
        Detection(("open", "short")[place % 2], 0.9375 - place / 8, Box(float(number % 16), 4.0 * place, 4.0, 3.0))
        for place in range(1 + number % 3)
    ]


class ChaosDetector(TwinDetector):
    """Answers by the picture's number; an order may also make it eat memory."""

    def _look(self, image: NDArray[np.uint8]) -> list[Detection]:
        plane = image.reshape(image.shape[0], image.shape[1], -1)[:, :, 0]
        order, number = int(plane[0, 0]), int.from_bytes(plane[1, :4].tobytes(), "big")
        if order == Order.HOG:
            _eat_memory()
        super()._look(image)
        return answer(Order(order), number)


def _eat_memory() -> None:
    """Grow until the limit strikes: the kernel's, which kills, or the process's own, which raises."""
    eaten = []
    for _ in range(HOG_STEPS):
        eaten.append(np.ones(HOG_STEP, np.uint8))
        time.sleep(0.001)
    raise MemoryError("nothing stopped this worker from eating 768 MiB")


def open_detector(_model: ModelFile, _settings: DetectionSettings) -> ChaosDetector:
    """Opened like the real one; its speed comes from the environment."""
    return ChaosDetector(float(os.environ.get(FRAME_MS, "0")))


if __name__ == "__main__":
    set_up_logging("info")
    sys.exit(run_detect(load_settings(), open_detector))
