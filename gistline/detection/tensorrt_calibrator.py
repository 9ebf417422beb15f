"""INT8 scales found by TensorRT itself, by its entropy calibrator: up to release 10, for FP32 files without Q/DQ.

The calibrator reads batches from the GPU. Every image is shown, the first batch too; the last batch is filled up with
the first images, since its size may not change.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gistline.detection.preprocess import letterbox
from gistline.detection.tensorrt_files import write_atomically

log = logging.getLogger(__name__)

Upload = Callable[[NDArray[np.float32]], int]
"""Copies a batch to the GPU and returns its address; the same memory each time."""


@dataclass(frozen=True)
class Calibration:
    """What the scales are found on: uint8 images, grey or RGB, of any sizes, and how many are shown at once."""

    images: Sequence[NDArray[np.uint8]]
    batch: int = 8

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images, their shapes and their order."""
        found = hashlib.sha256()
        for image in self.images:
            found.update(repr(image.shape).encode())
            found.update(image.tobytes())
        return found.hexdigest()


class Feeder:
    """Batches of a calibration, one after the other, on the GPU."""

    def __init__(
        self, calibration: Calibration, input_size: tuple[int, int], upload: Upload, *, fixed: int | None = None
    ) -> None:
        """``fixed`` is the batch that is built into the network; images are shown again where they do not fill it."""
        if not calibration.images:
            raise ValueError("a calibration needs images")
        self.batch = fixed or min(calibration.batch, len(calibration.images))
        self._images = calibration.images
        self._input_size = input_size
        self._upload = upload
        self._batches = self._draw()

    def next_address(self) -> int | None:
        """Address of the next batch, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else self._upload(batch)

    def _draw(self) -> Iterator[NDArray[np.float32]]:
        count = len(self._images)
        for begin in range(0, count, self.batch):
            chosen = [self._images[index % count] for index in range(begin, begin + self.batch)]
            yield np.stack([planes(image, self._input_size) for image in chosen])


class CalibrationCache:
    """The scales that a calibration found, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """None when there is none."""
        return self.path.read_bytes() if self.path.is_file() else None

    def write(self, content: bytes) -> None:
        """Take the place of what was there."""
        write_atomically(self.path, content)
        log.info("Calibration cache written: %s", self.path)


def planes(image: NDArray[np.uint8], input_size: tuple[int, int]) -> NDArray[np.float32]:
    """An image as the network reads it: float32 ``[3, height, width]`` in 0..1."""
    boxed, _ = letterbox(image, input_size)
    return np.ascontiguousarray(boxed.transpose(2, 0, 1), np.float32) / np.float32(255)


def make_calibrator(trt: Any, feeder: Feeder, cache: CalibrationCache) -> Any:
    """An IInt8EntropyCalibrator2; the caller keeps it alive until the build is over."""

    class Calibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        """Called by the builder."""

        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return feeder.batch

        def get_batch(self, names: list[str]) -> list[int] | None:
            address = feeder.next_address()
            return None if address is None else [address]

        def read_calibration_cache(self) -> bytes | None:
            return cache.read()

        def write_calibration_cache(self, content: memoryview) -> None:
            cache.write(bytes(content))

    return Calibrator()
