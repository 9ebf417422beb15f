"""Labelled images in the product's own terms, to calibrate and to measure on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gistline.detection.detector import Detector
from gistline.detection.engine import Engine
from gistline.detection.evaluation import LabelledBox
from gistline.detection.postprocess import Limits
from gistline.domain import Box, Detection
from gistline.settings import DetectionSettings
from gistline.simulator.boards import DEFECTS
from training.data import Pictures, hold_out, read_deeppcb, render_boards

LEAST_CONFIDENCE = 0.001
"""Average precision needs the weak detections too."""
MEASURE_SEED = 12_000_000
CALIBRATE_SEED = 15_000_000
"""First seeds of simulated boards; apart from each other and from those that the detector is trained and chosen on."""


@dataclass(frozen=True)
class Sample:
    """Images, uint8 grey ``[h, w]``, and class and box of every defect on them."""

    name: str
    images: list[NDArray[np.uint8]]
    truth: list[list[LabelledBox]]


def to_sample(name: str, pictures: Pictures) -> Sample:
    truth = [[(DEFECTS[label], Box(*box)) for label, box in row] for row in pictures.truth()]
    return Sample(name, list(pictures.images), truth)


def deeppcb_sample(folder: Path, split: str, *, limit: int = 0) -> Sample:
    """``heldout`` (100 images of trainval that nothing was trained on) or ``test_public`` (for final figures only)."""
    pictures = hold_out(folder)[1] if split == "heldout" else read_deeppcb(folder, split)
    return to_sample(f"DeepPCB {split}", pictures.take(np.arange(min(limit or len(pictures), len(pictures)))))


def boards_sample(count: int, seed: int = MEASURE_SEED) -> Sample:
    return to_sample("simulated boards", render_boards(count, seed))


def calibration_images(folder: Path | None, *, real: int, boards: int) -> list[NDArray[np.uint8]]:
    """Images of DeepPCB's trainval, evenly spread over what is not held out, then simulated boards in all styles."""
    images: list[NDArray[np.uint8]] = []
    if folder is not None and real:
        train = hold_out(folder)[0]
        images += [train.images[row] for row in np.linspace(0, len(train) - 1, real).astype(int)]
    return images + list(render_boards(boards, CALIBRATE_SEED).images)


def detect_all(engine: Engine, images: Iterable[NDArray[np.uint8]]) -> list[list[Detection]]:
    """Detections from 0.001 on, otherwise with the product's default settings."""
    settings = DetectionSettings()
    return Detector(engine, Limits(LEAST_CONFIDENCE, settings.nms_iou, settings.max_detections)).detect(images)
