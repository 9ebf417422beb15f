"""How fast the bare engine is on real frames, for a figure to hold the fleet's against."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gistline.detection.detector import open_detector
from gistline.domain import Detection, EngineInfo
from gistline.frames.decode import decode
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.storage.run_totals import kept_digests
from gistline.storage.session import Sessions, transaction


class Detects(Protocol):
    """What is measured of a detector."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        ...

    def detect(self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None) -> list[list[Detection]]:
        """Detections of each image, in order."""
        ...


def engine_rate(detector: Detects, images: Sequence[NDArray[np.uint8]], *, seconds: float = 3.0) -> float:
    """Frames a second of preprocessing, inference and NMS on decoded frames in memory, over ``seconds``.

    Args:
        detector: warmed up.
        images: uint8, ``[height, width]`` grey or ``[height, width, 3]`` RGB; taken in turn, at least one.
        seconds: how long images are fed; what is in flight then is finished and counted.

    """
    fed = 0

    def feed() -> Iterator[NDArray[np.uint8]]:
        nonlocal fed
        deadline = time.perf_counter() + seconds
        for image in cycle(images):
            if time.perf_counter() >= deadline:
                return
            fed += 1
            yield image

    begun = time.perf_counter()
    detector.detect(feed())
    return fed / (time.perf_counter() - begun)


def kept_frames_rate(sessions: Sessions, store: FrameStore, settings: Settings, *, frames: int = 32) -> float:
    """:func:`engine_rate` of the settings' detector on frames whose bytes were kept; 0.0 when there are none."""
    with transaction(sessions) as session:
        digests = kept_digests(session, frames)
    images = [decode(store.get(digest), settings.frames) for digest in digests]
    if not images:
        return 0.0
    with open_detector(settings.detection) as detector:
        detector.warm_up()
        return engine_rate(detector, images)
