"""A detector of a known service time, for measuring everything around a detector.

It sleeps as long as its speed says and makes its findings from the picture's bytes, so that two runs over the same
pictures agree. It is no runtime of the product: only programs that open it by name can have it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.domain import Box, Detection, EngineInfo

LABELS: Final = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
INPUT_SIDE: Final = 640
SHORTEST_NAP_S: Final = 0.0005
"""Shorter waits are saved up: a sleep of the kernel costs about a tenth of a millisecond by itself."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds that the engine takes for ``n`` images of one call: ``batch_s + n * frame_s``."""

    batch_s: float = 0.0
    frame_s: float = 0.0

    def of(self, images: int) -> float:
        """Seconds for this many images."""
        return self.batch_s + images * self.frame_s


@dataclass
class Pace:
    """Waits so that the sum of what was asked for is kept, however coarse the clock that wakes a sleeper.

    Time that passes between two waits is not made up for: an engine that starves stands still.
    """

    owed_s: float = 0.0

    def spend(self, seconds: float) -> None:
        """Be busy for this long, give or take what is carried over to the next call."""
        self.owed_s += seconds
        if self.owed_s < SHORTEST_NAP_S:
            return
        began = time.perf_counter()
        time.sleep(self.owed_s)
        self.owed_s -= time.perf_counter() - began


@dataclass
class SimulatedDetector:
    """Sleeps for its speed; one image at a time, in any number of threads as one device would.

    ``findings_per_image`` is the mean of a number that follows from the picture: 0 to twice as many.
    """

    speed: Speed
    findings_per_image: float = 0.5
    _pace: Pace = field(default_factory=Pace)
    _device: Lock = field(default_factory=Lock)

    @property
    def info(self) -> EngineInfo:
        """What it says it is."""
        name = f"simulated {self.speed.batch_s * 1000:g}+{self.speed.frame_s * 1000:g} ms"
        side = (INPUT_SIDE, INPUT_SIDE)
        return EngineInfo(
            name, hashlib.sha256(name.encode()).hexdigest(), "simulated", "none", "FP32", LABELS, side, 1, 0
        )

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""

    def detect(self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None) -> list[list[Detection]]:
        """:meth:`detect_each`, all at once."""
        return list(self.detect_each(images, min_confidence))

    def detect_each(
        self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None
    ) -> Generator[list[Detection], None, None]:
        """Findings of each image, in order, each after its share of the time; the fixed part comes with the first.

        Args:
            images: uint8, ``[height, width]`` or ``[height, width, 3]``.
            min_confidence: weaker findings are left out.

        """
        fixed_s = self.speed.batch_s
        for image in images:
            with self._device:
                self._pace.spend(fixed_s + self.speed.frame_s)
            fixed_s = 0.0
            yield [one for one in found_on(image, self.findings_per_image) if one.confidence >= (min_confidence or 0.0)]


def found_on(image: NDArray[np.uint8], mean: float) -> list[Detection]:
    """Findings that follow from the picture's bytes alone: ``mean`` on average over pictures, at most ``2 * mean + 1``.

    Their boxes lie inside of the picture and differ.
    """
    # Every 64th row tells pictures apart and costs a few microseconds; all rows would cost a millisecond.
    digest = hashlib.sha256(np.ascontiguousarray(image[::64]).tobytes()).digest()
    random = np.random.default_rng(np.frombuffer(digest[:16], np.uint32))
    height, width = image.shape[:2]
    count = int(random.uniform(0, 2 * mean) + random.uniform()) if mean else 0
    return sorted((_finding(random, width, height) for _ in range(count)), key=lambda one: -one.confidence)


def _finding(random: np.random.Generator, width: int, height: int) -> Detection:
    label = LABELS[int(random.integers(len(LABELS)))]
    left, top = float(random.uniform(0, width * 0.9)), float(random.uniform(0, height * 0.9))
    box = Box(round(left, 2), round(top, 2), round(width * 0.05, 2), round(height * 0.05, 2))
    return Detection(label, round(float(random.uniform(0.3, 0.99)), 4), box)
