"""Image files -> findings, in this process: no server, no row, no message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.detector import Detector, open_detector
from gistline.detection.draw import draw, encode_png
from gistline.domain import Detection, ImageSize
from gistline.errors import GistlineError, ImageRejected, ImageTooLarge
from gistline.frames.decode import decode
from gistline.settings import FrameSettings, Settings

_CHUNK: Final = 16
"""Decoded images held at once."""


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
        remaining = iter(paths)
        while chunk := list(islice(remaining, _CHUNK)):
            opened = [(path, _open(path, settings.frames)) for path in chunk]
            images = [image for _, image in opened if not isinstance(image, GistlineError)]
            found = iter(detector.detect(images, min_confidence))
            for path, image in opened:
                if isinstance(image, GistlineError):
                    yield RefusedImage(path, image)
                else:
                    yield _result(path, image, next(found), detector=detector if drawn else None)


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
