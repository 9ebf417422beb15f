"""Image files -> findings, in this process: no server, no row, no message."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gistline.detection.detector import Detector, open_detector
from gistline.detection.draw import draw, encode_png
from gistline.domain import Detection, ImageSize
from gistline.errors import GistlineError, ImageRejected, ImageTooLarge
from gistline.frames.decode import decode
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings

_Opened = deque[tuple[Path, NDArray[np.uint8] | GistlineError]]
"""Files drawn and not answered yet, in order: their pixels, or why there are none."""


@dataclass(frozen=True, slots=True)
class DetectedImage:
    """One file and what was found in it, strongest first; ``drawn`` is the annotated PNG where one was asked for."""

    path: Path
    size: ImageSize
    detections: list[Detection]
    drawn: bytes | None = None


@dataclass(frozen=True, slots=True)
class RefusedImage:
    """One file that could not be inspected, and why."""

    path: Path
    error: GistlineError


def detect_images(
    paths: Iterable[Path], settings: Settings, *, min_confidence: float | None = None, drawn: bool = False
) -> Iterator[DetectedImage | RefusedImage]:
    """Yield one result a file, in order; a file that cannot be read or decoded does not stop the others.

    Args:
        paths: image files.
        settings: the detector's and the limits of what may be decoded.
        min_confidence: takes the place of the setting.
        drawn: make an annotated copy of each image.

    Raises:
        ModelRejected: the detector's file does not fit.
        EngineUnavailable: the detector cannot run.

    """
    with open_detector(settings.detection) as detector:
        opened: _Opened = deque()
        # The detector draws from the files while it works on earlier ones, so decoding runs beside inference.
        for detections in detector.detect_each(_images(paths, settings.frames, opened), min_confidence):
            yield from _refused(opened)
            path, image = opened.popleft()
            if not isinstance(image, GistlineError):
                yield _result(path, image, detections, detector=detector if drawn else None)
        yield from _refused(opened)


def _images(paths: Iterable[Path], limits: FrameSettings, opened: _Opened) -> Iterator[NDArray[np.uint8]]:
    """Yield what can be decoded; ``opened`` takes note of every file."""
    for path in paths:
        image = _open(path, limits)
        opened.append((path, image))
        if not isinstance(image, GistlineError):
            yield image


def _refused(opened: _Opened) -> Iterator[RefusedImage]:
    """Take the files that lead the queue and were not decoded."""
    while opened and isinstance(opened[0][1], GistlineError):
        path, error = opened.popleft()
        if isinstance(error, GistlineError):
            yield RefusedImage(path, error)


def _open(path: Path, limits: FrameSettings) -> NDArray[np.uint8] | GistlineError:
    """Pixels of a file, or why there are none. Its size is looked at before its bytes are read."""
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            return ImageTooLarge(f"{size} bytes, at most {limits.max_bytes} are allowed.")
        return decode(path.read_bytes(), limits)
    except OSError as error:
        return ImageRejected(f"The file cannot be read: {error.strerror or error}.")
    except (ImageRejected, ImageTooLarge) as error:
        return error


def _result(
    path: Path, image: NDArray[np.uint8], detections: list[Detection], *, detector: Detector | None
) -> DetectedImage:
    size = ImageSize(width=image.shape[1], height=image.shape[0])
    if detector is None:
        return DetectedImage(path, size, detections)
    copy = encode_png(draw(image, detections, labels=detector.info.labels))
    return DetectedImage(path, size, detections, copy)
